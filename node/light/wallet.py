"""The wallet on this device: which one-time keys are used, for which records, shared with whom.

Index i gives the keys of one enrolment. An index is written down as used, durably, before anything
signed with its keys leaves the device. Content keys are not stored: the sealed ones are, and opened
with the hot master when needed.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from enum import IntEnum
from typing import Protocol, TypeVar

from node.keystore import WalletKeys
from node.ports import Store
from node.store import layout
from protocol import limits
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, UserError
from protocol.grants import SealedKey, open_key
from protocol.keys import OpeningKey, PublicKey, SigningKey
from protocol.persons import OWN
from protocol.rekeying import FreshKeys
from protocol.transactions import Content, GrantId, SignedEnrolment, TokenId, TransactionId
from protocol.wallet import HotMaster, enrol, opening_key, owner_key

R = TypeVar("R", "Offer", "OwnRecord", "OwnGrant")

_OFFER, _RECORD, _GRANT = b"offer/", b"record/", b"grant/"
_NEXT = layout.wallet(b"next-index")
_ENTRY_BYTES_MAX = 8 * limits.KIB
ID_PREFIX_CHARS_MIN = 6


Keep = Callable[[WalletKeys], Awaitable[None]]
"""Makes a wallet's keys durable."""


class RecordState(IntEnum):
    """What became of a record, as the ledger proved it last."""

    OWNED = 1
    GONE = 2  # another owner has it now
    ERASED = 3


class Keyed(Protocol):
    """What names one pair of hot keys: the device's number and the index."""

    @property
    def device(self) -> int: ...

    @property
    def index(self) -> int: ...


class Offer(Wire, frozen=True):
    """Keys given out that own nothing yet as far as is known: in a receive code, or for a new generation.

    `knower` is a clinic that knows the owner key already, or empty where none does; `person` is the number
    of whose records they are for.
    """

    device: int
    index: int
    knower: PublicKey
    not_after_ms: int
    person: int


class OwnRecord(Wire, frozen=True):
    """A token of ours. `sealed_key` opens with the keys of `device` and `index`, which the token had in
    `generation`; what is said here was proven after the final block of `seen_height`."""

    token: TokenId
    device: int
    index: int
    generation: int
    issuer: PublicKey
    content: Content
    sealed_key: bytes
    minted_height: int
    state: int
    seen_height: int


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

    def __init__(self, *, keys: WalletKeys, store: Store, keep: Keep) -> None:
        self.keys, self._store, self._keep = keys, store, keep

    async def adopt(self, keys: WalletKeys) -> None:
        """Uses these keys from now on, durably. Raises UserError KEY_FILE."""
        await self._keep(keys)
        self.keys = keys

    @property
    def device(self) -> int:
        """The number of this device: new keys come from its hot master."""
        return len(self.keys.hot_masters) - 1

    def owner_key(self, keyed: Keyed) -> SigningKey:
        return owner_key(self._hot(keyed.device), keyed.index)

    def opening_key(self, keyed: Keyed) -> OpeningKey:
        return opening_key(self._hot(keyed.device), keyed.index)

    # Enrolments.

    def enrol(
        self, issuer: PublicKey, count: int, not_after_ms: int, network: bytes, person: int = OWN
    ) -> list[SignedEnrolment]:
        """Signed enrolments under `count` fresh indices, which are used from now on.

        Raises:
            UserError: LIMIT, where the pool of next-key hashes is used up; NOT_INITIALISED, where there is
                none yet.
        """
        hot = self._hot(self.device)
        return [
            enrol(hot, one.index, self.next_key_hash(one), issuer, not_after_ms, network)
            for one in self.offer([issuer] * count, not_after_ms, person)
        ]

    def offer(self, knowers: Sequence[PublicKey], not_after_ms: int, person: int = OWN) -> list[Offer]:
        """Keys under as many fresh indices, which are used from now on.

        Raises:
            UserError: LIMIT, where the pool of next-key hashes is used up; NOT_INITIALISED, where there is
                none yet.
        """
        self.require_pool()
        first, count, pool = self.next_index, len(knowers), self.keys
        if not pool.first_hash <= first or first + count > pool.first_hash + len(pool.next_key_hashes):
            raise UserError(
                "this wallet's pool of one-time keys is used up",
                "refill it with the 24 words: chartmesh keys refill",
                code=Code.LIMIT,
            )
        made = [
            Offer(self.device, first + at, knower, not_after_ms, person)
            for at, knower in enumerate(knowers)
        ]
        puts = [(_offer_key(one), encode(one)) for one in made]
        self._store.write([*puts, (_NEXT, (first + count).to_bytes(8, "big"))], sync=True)
        return made

    def require_pool(self) -> None:
        """Raises UserError NOT_INITIALISED where the wallet was made from existing words and the ledger was
        not yet asked which of their keys are used."""
        if not self.keys.next_key_hashes:
            raise UserError(
                "this wallet does not know yet what its words own",
                "find it first: chartmesh my recover",
                code=Code.NOT_INITIALISED,
            )

    @property
    def next_index(self) -> int:
        """The lowest index that was never used on this device."""
        return int.from_bytes(self._store.get(_NEXT) or b"", "big")

    def skip_to(self, index: int) -> None:
        """Leaves out the indices below `index`: another device may have used them."""
        self._store.write([(_NEXT, max(index, self.next_index).to_bytes(8, "big"))], sync=True)

    def fresh_keys(self, offer: Offer) -> FreshKeys:
        """What another signs or commits to, of keys that were given out."""
        owner, opening = self.owner_key(offer).public, self.opening_key(offer).public
        return FreshKeys(owner, self.next_key_hash(offer), opening)

    def next_key_hash(self, keyed: Keyed) -> bytes:
        """What a token with these keys commits to. The pool holds it: see `offer`."""
        return self.keys.next_key_hashes[keyed.index - self.keys.first_hash]

    def offers(self) -> list[Offer]:
        """Keys given out that own nothing yet, in order of use."""
        return sorted(self._entries(Offer, _OFFER), key=lambda one: one.index)

    def drop_offer(self, offer: Offer) -> None:
        """Forgets keys that nothing can be given to any more."""
        self._store.write([], [_offer_key(offer)], sync=True)

    # Records.

    def put_record(self, record: OwnRecord) -> None:
        """What the ledger proved of a token that keys of ours were given. What was proven of a later
        generation or a later block stands."""
        known = self.record_of(record.token)
        is_newer = known is None or (known.generation, known.seen_height) <= (
            record.generation,
            record.seen_height,
        )
        puts = [(_key(_RECORD, record.token), encode(record))] if is_newer else []
        self._store.write(puts, [_offer_key(record)], sync=True)

    def records(self) -> list[OwnRecord]:
        """The tokens that are ours now, the oldest first."""
        owned = (one for one in self.all_records() if one.state == RecordState.OWNED)
        return sorted(owned, key=lambda item: (item.minted_height, item.token))

    def all_records(self) -> list[OwnRecord]:
        """Also those that were given away or erased, in no order of use."""
        return list(self._entries(OwnRecord, _RECORD))

    def record_of(self, token: TokenId) -> OwnRecord | None:
        """What is known of a token, whatever became of it."""
        raw = self._store.get(_key(_RECORD, token))
        return None if raw is None else decode(OwnRecord, raw, limit=_ENTRY_BYTES_MAX)

    def record(self, prefix: str) -> OwnRecord:
        """The record of ours whose token begins with `prefix`. Raises UserError REFUSED or AMBIGUOUS_ID."""
        return only_one(prefix, "record", {item.token.hex(): item for item in self.records()})

    def open(self, record: OwnRecord) -> SealedKey:
        """The content key and label. Raises UserError STORE_DAMAGED where the box is not for our key."""
        opened = open_key(self.opening_key(record), record.sealed_key)
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
        return only_one(prefix, "share", {item.grant_id.hex(): item for item in self.grants()})

    def _hot(self, device: int) -> HotMaster:
        return HotMaster(self.keys.hot_masters[device])

    def _entries(self, kind: type[R], prefix: bytes) -> Iterator[R]:
        for _, raw in self._store.iterate(layout.wallet(prefix)):
            yield decode(kind, raw, limit=_ENTRY_BYTES_MAX)


T = TypeVar("T")


def only_one(prefix: str, kind: str, named: dict[str, T]) -> T:
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


def _offer_key(keyed: Keyed) -> bytes:
    return _key(_OFFER, keyed.device.to_bytes(2, "big") + keyed.index.to_bytes(8, "big"))
