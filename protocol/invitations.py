"""Invitations: the code by which a clinic asks a network that it knows nothing of to let it in.

A member signs it. It tells where the member is reached, and it pins a checkpoint: a block that the member
knows to be final, which the newcomer's chain must hold, whatever else it is shown. It lets nobody in:
with it a clinic may *ask*, and the members approve what came back.
"""

from typing import Final

from protocol import limits
from protocol.armour import CodeKind, unwrap_code, wrap_code
from protocol.blocks import BlockHash, NetworkId
from protocol.codec import HASH_BYTES, Wire, decode, digest, encode
from protocol.errors import Code, Malformed, UserError
from protocol.keys import NETWORK_ID_BYTES, PublicKey, SigningKey, is_public_key, verify

SECRET_BYTES: Final = 16
_KIND: Final = "invitation"
_ASK_AGAIN: Final = "ask the member for a new one: chartmesh network invite"


class Invitation(Wire, frozen=True):
    """`name` is the network's, for people; `secret` makes the code one that nobody guesses, good for one
    clinic. `addresses` are the inviter's, `expires_ms` Unix time."""

    network: NetworkId
    name: str
    inviter: PublicKey
    addresses: tuple[str, ...]
    checkpoint_height: int
    checkpoint_hash: BlockHash
    terms_hash: bytes
    expires_ms: int
    secret: bytes


class SignedInvitation(Wire, frozen=True):
    """The encoded Invitation, signed by its inviter's identity key as kind `invitation`."""

    body: bytes
    signature: bytes


def sign_invitation(invitation: Invitation, key: SigningKey) -> SignedInvitation:
    """`invitation` signed by its inviter. Raises Malformed where a field is out of its limits."""
    _check(invitation)
    body = encode(invitation)
    return SignedInvitation(body, key.sign(_KIND, invitation.network, body))


def verify_invitation(signed: SignedInvitation) -> Invitation:
    """The invitation that its inviter signed; whether the inviter is a member, the ledger knows.

    Raises:
        Malformed: not canonical, a field out of its limits, or not signed by the inviter it names.
    """
    invitation = decode(Invitation, signed.body, limit=limits.CODE_BYTES_MAX)
    _check(invitation)
    if not verify(invitation.inviter, _KIND, invitation.network, signed.body, signed.signature):
        raise Malformed("invitation is not signed by its inviter")
    return invitation


def encode_invitation(signed: SignedInvitation) -> str:
    """The text of an invitation, `CM1…`. Raises Malformed, as `verify_invitation`."""
    verify_invitation(signed)
    return wrap_code(CodeKind.INVITATION, encode(signed))


def decode_invitation(text: str) -> SignedInvitation:
    """The invitation of `text`, its signature verified.

    Raises:
        UserError: INVITATION: a slip in the text, or one that no member's node makes.
    """
    payload = unwrap_code(CodeKind.INVITATION, text)
    try:
        signed = decode(SignedInvitation, payload, limit=limits.CODE_BYTES_MAX)
        verify_invitation(signed)
    except Malformed as error:
        raise UserError("this invitation is not valid", _ASK_AGAIN, code=Code.INVITATION) from error
    return signed


def check_invitation(invitation: Invitation, *, now_ms: int, terms_hash: bytes) -> None:
    """Whether a clinic whose program knows the terms of `terms_hash` may use this invitation now.

    Raises:
        UserError: INVITATION: expired. TERMS: the network has terms that this program does not know.
    """
    if now_ms > invitation.expires_ms:
        raise UserError("this invitation has expired", _ASK_AGAIN, code=Code.INVITATION)
    if invitation.terms_hash != terms_hash:
        raise UserError(
            f"the network {invitation.name} has other terms than this program knows",
            "install the version of chartmesh that its members run, then join again",
            code=Code.TERMS,
        )


def invitation_id(invitation: Invitation) -> bytes:
    """What an inviter remembers a used invitation by: 32 bytes that do not tell the secret."""
    return digest("invitation", invitation.secret)


def _check(invitation: Invitation) -> None:
    hashes = (invitation.checkpoint_hash, invitation.terms_hash)
    _require(len(invitation.network) == NETWORK_ID_BYTES, "network")
    _require(all(len(item) == HASH_BYTES for item in hashes), "hash")
    _require(1 <= len(invitation.name) <= limits.NAME_CHARS_MAX and invitation.name.isprintable(), "name")
    _require(is_public_key(invitation.inviter), "inviter")
    _require(1 <= len(invitation.addresses) <= limits.ADDRESSES_MAX, "addresses")
    _require(all(1 <= len(item) <= limits.ADDRESS_CHARS_MAX for item in invitation.addresses), "addresses")
    _require(invitation.checkpoint_height >= 0, "checkpoint_height")
    _require(invitation.expires_ms >= 0, "expires_ms")
    _require(len(invitation.secret) == SECRET_BYTES, "secret")


def _require(condition: bool, name: str) -> None:
    if not condition:
        raise Malformed(f"invitation field is not acceptable: {name}")
