"""A small network and its patients, for tests of the ledger: keys from names, transactions signed.

Nothing is random. Every patient has one token; `keys(patient, generation)` are the one-time keys of one
generation of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from protocol.blocks import VERSION, Block, Genesis, Header, Member, network_id
from protocol.chain import Built, Execution, build_block, execute_block
from protocol.codec import digest
from protocol.errors import Rejected, Rejection
from protocol.keys import OpeningKey, SigningKey
from protocol.ledger import Overlay
from protocol.limits import NetworkLimits
from protocol.state import LedgerState, TokenState, genesis_state, is_live
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
    VerifiedTransaction,
    decode_transaction,
    next_key_hash,
    sealed_hash,
    sign_enrolment,
    sign_transaction,
    verify_transaction,
)

CREATED_MS = 1_700_000_000_000
FAR_MS = CREATED_MS + 10**9
GRANTS_MAX = 8
CONTENT = Content(1, 256 * 1024, 1_000, 10, bytes(32), bytes(32), bytes(32), bytes(32))


def signing(*name: object) -> SigningKey:
    return SigningKey(digest("test-signing", repr(name).encode()))


def opening(*name: object) -> OpeningKey:
    return OpeningKey(digest("test-opening", repr(name).encode()))


@dataclass(frozen=True)
class Keys:
    owner: SigningKey
    next: SigningKey
    enc: OpeningKey


@dataclass(frozen=True)
class Signed:
    """A verified transaction and the sealed bytes beside it."""

    transaction: VerifiedTransaction
    sealed: bytes

    @property
    def token(self) -> TokenId:
        return TokenId(self.transaction.id)


CLINICS = tuple(signing("clinic", index) for index in range(4))
VOTERS = tuple(signing("voter", index) for index in range(4))
STRANGER = signing("stranger")


def genesis(limits: NetworkLimits | None = None) -> Genesis:
    members = tuple(
        Member(f"clinic-{index}", CLINICS[index].public, VOTERS[index].public, opening(index).public, ())
        for index in range(4)
    )
    limits = limits or NetworkLimits(grants_per_token_max=GRANTS_MAX)
    return Genesis(VERSION, "test", CREATED_MS, bytes(32), limits, members)


GENESIS = genesis()
NETWORK = network_id(GENESIS)
START = genesis_state(GENESIS)


def keys(patient: object, generation: int = 0) -> Keys:
    return Keys(
        signing("owner", patient, generation),
        signing("next", patient, generation),
        opening("enc", patient, generation),
    )


def grant_id(number: int) -> GrantId:
    return GrantId(digest("test-grant", number.to_bytes(8, "big")))


def signed(body: Body, *signers: SigningKey, sealed: bytes = b"") -> Signed:
    raw = sign_transaction(body, signers, NETWORK)
    return Signed(verify_transaction(decode_transaction(raw), NETWORK), sealed)


def mint(
    patient: object,
    *,
    by: SigningKey = CLINICS[0],
    not_after_ms: int = FAR_MS,
    own: Keys | None = None,
    nonce: int = 0,
) -> Signed:
    own = own or keys(patient)
    next_hash, sealed = next_key_hash(own.next.public), b"content key of " + repr(patient).encode()
    terms = Enrolment(by.public, own.owner.public, next_hash, own.enc.public, not_after_ms)
    body = Mint(
        nonce.to_bytes(16, "big"),
        by.public,
        own.owner.public,
        next_hash,
        own.enc.public,
        CONTENT,
        sealed_hash(sealed),
        sign_enrolment(terms, own.owner, NETWORK),
    )
    return signed(body, by, sealed=sealed)


def grant(token: TokenId, number: int, by: SigningKey) -> Signed:
    sealed = b"sealed grant %d" % number
    return signed(Grant(token, grant_id(number), sealed_hash(sealed)), by, sealed=sealed)


def revoke(token: TokenId, number: int, by: SigningKey) -> Signed:
    return signed(Revoke(token, grant_id(number)), by)


def _new_sealed(new: Keys) -> bytes:
    return b"content key again for " + new.owner.public


def transfer(
    token: TokenId, old: Keys, new: Keys, *, generation: int = 0, keep: Iterable[int] = ()
) -> Signed:
    body = Transfer(
        token,
        generation,
        "guardian",
        old.next.public,
        new.owner.public,
        next_key_hash(new.next.public),
        new.enc.public,
        sealed_hash(_new_sealed(new)),
        tuple(sorted(map(grant_id, keep))),
    )
    return signed(body, old.owner, old.next, new.owner, sealed=_new_sealed(new))


def rotate(
    token: TokenId, old: Keys, new: Keys, *, generation: int = 0, keep: Iterable[int] = ()
) -> Signed:
    body = Rotate(
        token,
        generation,
        old.next.public,
        new.owner.public,
        next_key_hash(new.next.public),
        new.enc.public,
        sealed_hash(_new_sealed(new)),
        tuple(sorted(map(grant_id, keep))),
    )
    return signed(body, old.next, new.owner, sealed=_new_sealed(new))


def erase(token: TokenId, old: Keys, *, generation: int = 0) -> Signed:
    return signed(Erase(token, generation, old.next.public), old.owner, old.next)


def audit_head(clinic: SigningKey, sequence: int) -> Signed:
    return signed(AuditHead(clinic.public, sequence, digest("head", bytes((sequence,)))), clinic)


def overlay(state: LedgerState, *items: Signed, height: int = 1, time_ms: int = CREATED_MS + 1) -> Overlay:
    """An overlay of `state` with `items` applied."""
    result = Overlay(state, height=height, time_ms=time_ms)
    for item in items:
        result.apply(item.transaction)
    return result


def after(
    state: LedgerState, *items: Signed, height: int = 1, time_ms: int = CREATED_MS + 1
) -> LedgerState:
    """The state after `items`, applied as one block."""
    return overlay(state, *items, height=height, time_ms=time_ms).commit()


def build(
    parent: Header, state: LedgerState, items: Iterable[Signed], *, time_ms: int | None = None
) -> Built:
    return build_block(
        parent=parent,
        state=state,
        view=parent.view + 1,
        proposer=VOTERS[0].public,
        time_ms=parent.time_ms + 1 if time_ms is None else time_ms,
        candidates=[(item.transaction, item.sealed) for item in items],
    )


def execute(
    parent: Header, state: LedgerState, block: Block, *, allow_missing_sealed: bool = False
) -> Execution:
    """Executes `block` after verifying its transactions anew."""
    return execute_block(
        parent=parent,
        state=state,
        block=block,
        transactions=[verify_transaction(decode_transaction(raw), NETWORK) for raw in block.transactions],
        allow_missing_sealed=allow_missing_sealed,
    )


def refuses(state: LedgerState, item: Signed, time_ms: int = CREATED_MS + 1) -> str:
    """The reason for which `state` rejects `item`; nothing may change."""
    attempt = overlay(state, time_ms=time_ms)
    with pytest.raises(Rejected) as caught:
        attempt.apply(item.transaction)
    assert not attempt.changes
    assert not attempt.dropped_sealed
    assert not attempt.kept_sealed
    assert attempt.commit().entries.root == state.entries.root
    assert isinstance(caught.value.reason, Rejection)
    assert caught.value.hint
    return caught.value.reason


def token_state(state: LedgerState, token: TokenId) -> TokenState:
    found = state.token(token)
    assert found is not None
    return found


def living(state: LedgerState, token: TokenId) -> list[int]:
    """The numbers below 20 of the token's live grants."""
    grants = ((number, state.grant(token, grant_id(number))) for number in range(20))
    owner = token_state(state, token)
    return [number for number, found in grants if found is not None and is_live(found, owner)]
