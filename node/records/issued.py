"""What this clinic keeps for itself of the records that it issued: their labels and its own names for the
patients, under its own key, so that neither is in clear on its disk. Content keys are not kept."""

from collections.abc import Container, Iterator

from node.ports import Entropy, Store
from node.records.ids import find_issued
from node.store import layout
from protocol import limits
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, StorageError
from protocol.grants import RecordLabel
from protocol.keys import NONCE_BYTES, OpeningKey, PublicKey
from protocol.transactions import TokenId

_ENTRY_BYTES_MAX = 8 * limits.KIB


class IssuedRecord(Wire, frozen=True):
    """`patient` is the clinic's own name for her, `reference` what her wallet is known by here; `holders`
    are those who signed for the ciphertext."""

    label: RecordLabel
    patient: str
    reference: bytes
    holders: tuple[PublicKey, ...]


class IssuedEntry(Wire, frozen=True):
    """An IssuedRecord as stored: its time in clear, to list by, the rest in a sealed box."""

    time_ms: int
    sealed: bytes


class IssuedRecords:
    """The clinic's table of records, by token and by one-time owner key."""

    def __init__(self, *, store: Store, opening_key: OpeningKey, entropy: Entropy) -> None:
        self._store, self._opening_key, self._entropy = store, opening_key, entropy

    def put(self, token: TokenId, owner_key: PublicKey, record: IssuedRecord) -> None:
        """Writes a record down before its mint is submitted; durable when it returns."""
        sealed = self._opening_key.keep(encode(record), nonce=self._entropy.bytes(NONCE_BYTES))
        entry = encode(IssuedEntry(record.label.time_ms, sealed))
        self._store.write([(layout.issued(token), entry), (layout.issued_key(owner_key), token)], sync=True)

    def drop(self, token: TokenId, owner_key: PublicKey) -> None:
        """Forgets a record whose mint the ledger did not take."""
        self._store.write((), [layout.issued(token), layout.issued_key(owner_key)], sync=True)

    def is_promised(self, owner_key: PublicKey) -> bool:
        """Whether a mint to this key was submitted here, final or not."""
        return self._store.get(layout.issued_key(owner_key)) is not None

    def get(self, token: TokenId) -> IssuedRecord | None:
        raw = self._store.get(layout.issued(token))
        return None if raw is None else self.open(_decode(raw))

    def find(self, prefix: str) -> TokenId:
        """The record whose id begins with `prefix`. Raises Refused where there is none, UserError where
        there are several.
        """
        return find_issued(self._store, prefix)

    def entries(self) -> Iterator[tuple[TokenId, IssuedEntry]]:
        """All records, in no order of time, none of them opened."""
        for key, raw in self._store.iterate(layout.ISSUED):
            yield TokenId(key[len(layout.ISSUED) :]), _decode(raw)

    def open(self, entry: IssuedEntry) -> IssuedRecord:
        """Raises StorageError where the entry is not one that this clinic sealed."""
        opened = self._opening_key.open_kept(entry.sealed)
        if opened is None:
            raise StorageError(
                "an entry of this clinic's own records does not open",
                "restore the key file that belongs to this data directory",
                code=Code.STORE_DAMAGED,
            )
        return decode(IssuedRecord, opened, limit=_ENTRY_BYTES_MAX)

    def of_patient(
        self, patient: str, references: Container[bytes] = ()
    ) -> Iterator[tuple[TokenId, IssuedRecord]]:
        """The records of a patient, by the clinic's own name or what her wallet is known by."""
        for token, entry in self.entries():
            one = self.open(entry)
            if one.patient == patient or one.reference in references:
                yield token, one


def _decode(raw: bytes) -> IssuedEntry:
    return decode(IssuedEntry, raw, limit=_ENTRY_BYTES_MAX)
