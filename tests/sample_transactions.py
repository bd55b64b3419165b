"""One valid transaction body of each kind, with its signers."""

from protocol import limits
from protocol.blocks import Member, NetworkId, sign_card
from protocol.keys import OpeningKey, SigningKey
from protocol.membership import Admit, Promote, Remove, RotateVoteKey, Suspend, accept_terms
from protocol.transactions import (
    AuditHead,
    Body,
    Content,
    Enrolment,
    Erase,
    Grant,
    GrantId,
    Mint,
    Revoke,
    Rotate,
    TokenId,
    Transfer,
    sign_enrolment,
)

NETWORK = b"n" * 32
ISSUER, OWNER, NEXT, HEIR = (SigningKey(bytes((number,)) * 32) for number in range(1, 5))
ENC = OpeningKey(b"e" * 32).public
TOKEN, GRANT, HASH = TokenId(b"t" * 32), GrantId(b"g" * 32), b"h" * 32


ENROLMENT = Enrolment(ISSUER.public, OWNER.public, HASH, ENC, 1_700_000_000_000)


def mint(enrolment: Enrolment = ENROLMENT, owner: SigningKey = OWNER, network: bytes = NETWORK) -> Mint:
    """A mint whose enrolment is `enrolment` signed by `owner` in `network`."""
    return Mint(
        nonce=b"o" * 16,
        issuer=ISSUER.public,
        owner_key=OWNER.public,
        next_key_hash=HASH,
        enc_key=ENC,
        content=Content(1, limits.CHUNK_BYTES, 1000, 1, HASH, HASH, HASH, HASH),
        sealed_key_hash=HASH,
        enrolment=sign_enrolment(enrolment, owner, network),
    )


CLINIC, VOTER = SigningKey(b"c" * 32), SigningKey(b"v" * 32)
CARD = Member("clinic", CLINIC.public, VOTER.public, ENC, ("/ip4/127.0.0.1/tcp/4001",))
APPROVERS = tuple(sorted((ISSUER, OWNER, NEXT), key=lambda key: key.public))


def admit(terms_hash: bytes = HASH, network: bytes = NETWORK) -> Admit:
    """The admission of CARD under `terms_hash`, accepted in `network`."""
    acceptance = accept_terms(terms_hash, CLINIC, NetworkId(network))
    return Admit(sign_card(CARD, CLINIC, VOTER), terms_hash, acceptance, 1_700_000_000_000)


KEEP = (GrantId(b"a" * 32), GrantId(b"b" * 32))
SIGNED: list[tuple[Body, tuple[SigningKey, ...]]] = [
    (mint(), (ISSUER,)),
    (Grant(TOKEN, GRANT, HASH), (OWNER,)),
    (Revoke(TOKEN, GRANT), (OWNER,)),
    (
        Transfer(TOKEN, 3, "guardian", NEXT.public, HEIR.public, HASH, ENC, HASH, KEEP),
        (OWNER, NEXT, HEIR),
    ),
    (Rotate(TOKEN, 300, NEXT.public, HEIR.public, HASH, ENC, HASH, KEEP), (NEXT, HEIR)),
    (Erase(TOKEN, 70_000, NEXT.public), (OWNER, NEXT)),
    (AuditHead(ISSUER.public, 2**40, HASH), (ISSUER,)),
    (admit(), APPROVERS),
    (Promote(CLINIC.public, 1_700_000_000_000), APPROVERS),
    (Suspend(CLINIC.public, "evidence", 1_700_000_000_000), APPROVERS),
    (Remove(CLINIC.public, 1_700_000_000_000), APPROVERS),
    (RotateVoteKey(CLINIC.public, VOTER.public), (CLINIC, VOTER)),
]
