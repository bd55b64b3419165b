"""The wallet on this device: which one-time keys are used, for which records, shared with whom.

Index i gives the keys of one enrolment. An index is written down as used, durably, before anything
signed with its keys leaves the device. Content keys are not stored: the sealed ones are, and opened
with the hot master when needed.
"""

from collections.abc import Iterator
from typing import TypeVar

from node.keystore import WalletKeys
from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, UserError
from protocol.grants import SealedKey, open_key
from protocol.keys import OpeningKey, PublicKey, SigningKey
from protocol.transactions import Content, GrantId, SignedEnrolment, TokenId, TransactionId
from protocol.wallet import HotMaster, enrol, opening_key, owner_key

R = TypeVar("R", "Offer", "OwnRecord", "OwnGrant")

_OFFER, _RECORD, _GRANT = b"offer/", b"record/", b"grant/"
_NEXT = layout.wallet(b"next-index")
_ENTRY_BYTES_MAX = 8 * limits.KIB
ID_PREFIX_CHARS_MIN = 6


class Offer(Wire, frozen=True):
    """Keys given out in a receive code, to which nothing was minted yet as far as is known."""

    index: int
    issuer: PublicKey
    not_after_ms: int


class OwnRecord(Wire, frozen=True):
    """A token of ours, shown to be final at `height`. `sealed_key` opens with the keys of `index`."""

    token: TokenId
    index: int
    issuer: PublicKey
    content: Content
    sealed_key: bytes
    height: int


class OwnGrant(Wire, frozen=True):
    """A grant of ours. `height` is 0 until it is final; `stopped_ms` is 0 until it is revoked."""

    grant_id: GrantId
    token: TokenId
    grantee: PublicKey
    body: bytes
    transaction: TransactionId
    height: int
    stopped_ms: int


class Wallet:
    """The patient's keys and what they were used for, in the light client's store."""

    def __init__(self, *, keys: WalletKeys, store: Store) -> None:
        self._hot, self._next_hashes = HotMaster(keys.hot_master), keys.next_key_hashes
        self._store = store

    def owner_key(self, index: int) -> SigningKey:
        return owner_key(self._hot, index)

    def opening_key(self, index: int) -> OpeningKey:
        return opening_key(self._hot, index)

    # Enrolments.

    def enrol(
        self, issuer: PublicKey, count: int, not_after_ms: int, network: bytes
    ) -> list[SignedEnrolment]:
        """Signed enrolments under `count` fresh indices, which are used from now on.

        Raises:
            UserError: LIMIT, where the pool of next-key hashes is used up.
        """
        first = int.from_bytes(self._store.get(_NEXT) or b"", "big")
        if first + count > len(self._next_hashes):
            raise UserError(
                "this wallet's pool of one-time keys is used up",
                "refill it with the 24 words",
                code=Code.LIMIT,
            )
        indices = range(first, first + count)
        puts = [(_key(_OFFER, _index(i)), encode(Offer(i, issuer, not_after_ms))) for i in indices]
        self._store.write([*puts, (_NEXT, (first + count).to_bytes(8, "big"))], sync=True)
        return [enrol(self._hot, i, self._next_hashes[i], issuer, not_after_ms, network) for i in indices]

    def offers(self) -> list[Offer]:
        """Keys given out and not minted to yet, in order of use."""
        return list(self._entries(Offer, _OFFER))

    # Records.

    def add_record(self, record: OwnRecord) -> None:
        """A mint to one of our offers was shown to be final."""
        self._store.write(
            [(_key(_RECORD, record.token), encode(record))],
            [_key(_OFFER, _index(record.index))],
            sync=True,
        )

    def records(self) -> list[OwnRecord]:
        """All tokens, the oldest first."""
        return sorted(self._entries(OwnRecord, _RECORD), key=lambda item: (item.height, item.index))

    def record(self, prefix: str) -> OwnRecord:
        """The record whose token begins with `prefix`. Raises UserError REFUSED or AMBIGUOUS_ID."""
        return _one_of(prefix, "record", {item.token.hex(): item for item in self.records()})

    def open(self, record: OwnRecord) -> SealedKey:
        """The content key and label. Raises UserError STORE_DAMAGED where the box is not for our key."""
        opened = open_key(self.opening_key(record.index), record.sealed_key)
        if opened is None:
            raise UserError(
                "the record's key does not open: its clinic sealed it to another key or damaged it",
                "ask the clinic that issued it to add the record again",
                code=Code.STORE_DAMAGED,
            )
        return opened

    # Grants.

    def put_grant(self, grant: OwnGrant) -> None:
        self._store.write([(_key(_GRANT, grant.grant_id), encode(grant))], sync=True)

    def grants(self) -> list[OwnGrant]:
        return list(self._entries(OwnGrant, _GRANT))

    def grant(self, prefix: str) -> OwnGrant:
        """The grant whose id begins with `prefix`. Raises UserError REFUSED or AMBIGUOUS_ID."""
        return _one_of(prefix, "share", {item.grant_id.hex(): item for item in self.grants()})

    def _entries(self, kind: type[R], prefix: bytes) -> Iterator[R]:
        for _, raw in self._store.iterate(layout.wallet(prefix)):
            yield decode(kind, raw, limit=_ENTRY_BYTES_MAX)


T = TypeVar("T")


def _one_of(prefix: str, kind: str, named: dict[str, T]) -> T:
    """The one entry whose name begins with `prefix`.

    Raises:
        UserError: REFUSED, none does; AMBIGUOUS_ID, several do.
    """
    fitting = [name for name in named if name.startswith(prefix)]
    if len(fitting) > 1:
        raise UserError(
            f"{len(fitting)} ids begin with {prefix}", "give more of its characters", code=Code.AMBIGUOUS_ID
        )
    if not fitting:
        raise UserError(
            f"you have no {kind} whose id begins with {prefix}",
            f"see: chartmesh my {kind}s",
            code=Code.REFUSED,
        )
    return named[fitting[0]]


def _key(prefix: bytes, name: bytes) -> bytes:
    return layout.wallet(prefix + name)


def _index(index: int) -> bytes:
    return index.to_bytes(8, "big")
