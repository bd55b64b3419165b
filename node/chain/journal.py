"""What a validator signed, and what that rests on, durable before it leaves the process.

The record goes to the vote file; the blocks voted for and the certificates go to the ledger's store,
where a restart finds them. The store also keeps the newest two records, so that a vote file that was put
back from a copy is noticed: then the node must not vote again under its key. A file that is one record
behind may be that or a crash between the two writes; the store's record is then taken as signed.

A store that was lost or put back takes nothing away: the file alone says what was signed. Both put back
together show only in what others heard this key say; the key is then retired for good, here too.
"""

from collections.abc import Sequence

from node.ports import Put, Store, VoteFile
from node.store import layout
from protocol import limits
from protocol.ballot import VoteRecord
from protocol.blocks import NO_BLOCK, Block, Certificate, block_hash
from protocol.codec import Wire, decode, encode
from protocol.errors import StorageError
from protocol.keys import PublicKey

_RECORD_BYTES_MAX = limits.KIB
_RETIRED = b"retired: "  # no record begins like this: records are arrays


class _Signed(Wire, frozen=True):
    """The newest record of a vote key and the one before it (empty where there was none), as encoded."""

    key: bytes
    before: bytes
    newest: bytes


class VoteJournal:
    """The vote file of one vote key beside the candidates in the store. `loss` says why the node only
    learns; a new key with a vote file of its own ends that."""

    def __init__(self, *, store: Store, votes: VoteFile | None, key: PublicKey | None) -> None:
        self._store, self._votes, self._key = store, votes, key or b""
        self._newest: bytes | None = None
        self._kept: dict[bytes, int] = {}
        self.loss = "" if votes is not None else "this node has no vote file"

    @property
    def is_lost(self) -> bool:
        """Whether the past votes cannot be known: the node must not sign."""
        return bool(self.loss)

    def load(self, epoch: int) -> VoteRecord | None:
        """The newest record of this epoch; None where there is none or it cannot be trusted."""
        if self._votes is None:
            return None
        try:
            raw = self._votes.load()
        except StorageError as error:
            self.loss = error.message
            return None
        signed = self._stored()
        for retired in (raw, None if signed is None else signed.newest):
            if retired is not None and retired.startswith(_RETIRED):
                self.loss = retired.removeprefix(_RETIRED).decode()
                return None
        if signed is not None:
            if raw == (signed.before or None):
                raw = signed.newest
            elif not _covers(raw, signed.newest):
                self.loss = "the vote file is older than the store: it was put back from a copy"
                return None
        self._newest = raw
        record = None if raw is None else _record(raw)
        return record if record is not None and record.epoch == epoch else None

    def save(
        self, record: VoteRecord, blocks: Sequence[Block], certificates: Sequence[Certificate]
    ) -> None:
        """Durable when it returns. Raises StorageError, after which nothing may be sent."""
        puts: list[Put] = []
        for block in blocks:
            puts.append((layout.candidate(block_hash(block.header)), encode(block)))
            self._kept[puts[-1][0]] = block.header.view
        for certificate in certificates:
            statement = certificate.statement
            key = layout.candidate_certificate(statement.view, statement.phase)
            puts.append((key, encode(certificate)))
            self._kept[key] = statement.view
        newest = encode(record)
        puts.append((layout.signed(), encode(_Signed(self._key, self._newest or b"", newest))))
        # A disk that is nearly full refuses this, and then nothing has changed: it can be done again.
        self._store.write(puts, sync=bool(blocks or certificates))
        self._newest = newest
        assert self._votes is not None
        self._votes.save(newest)

    def retire(self, loss: str) -> None:
        """Ends voting under this key for good; durable when it returns, in the store and in the file."""
        self.loss = loss
        mark = _RETIRED + loss.encode()
        signed = _Signed(self._key, self._newest or b"", mark)
        self._store.write([(layout.signed(), encode(signed))], sync=True)
        assert self._votes is not None
        self._votes.save(mark)

    def candidates(self, epoch: int) -> tuple[list[Block], list[Certificate]]:
        """The blocks voted for and the certificates of `epoch` above the newest final block.

        Those of another epoch are of no use any more, and go with the next final block.
        """
        blocks: list[Block] = []
        certificates: list[Certificate] = []
        for key, raw in self._store.iterate(layout.CANDIDATE):
            block = decode(Block, raw, limit=limits.CONSENSUS_FRAME_BYTES_MAX)
            self._kept[key] = block.header.view if block.header.epoch == epoch else 0
            if block.header.epoch == epoch:
                blocks.append(block)
        for key, raw in self._store.iterate(layout.CANDIDATE_CERTIFICATE):
            certificate = decode(Certificate, raw, limit=limits.CONSENSUS_FRAME_BYTES_MAX)
            statement = certificate.statement
            self._kept[key] = statement.view if statement.epoch == epoch else 0
            if statement.epoch == epoch:
                certificates.append(certificate)
        return sorted(blocks, key=lambda block: block.header.height), certificates

    def forget_through(self, view: int) -> None:
        """Drops what a final block of `view` made pointless. Not synced: it is only space."""
        stale = [key for key, signed_view in self._kept.items() if signed_view <= view]
        for key in stale:
            del self._kept[key]
        if stale:
            self._store.write((), stale)

    def _stored(self) -> _Signed | None:
        """What the store holds of this key."""
        stored = self._store.get(layout.signed())
        signed = None if stored is None else decode(_Signed, stored, limit=3 * _RECORD_BYTES_MAX)
        return signed if signed is not None and signed.key == self._key else None


def _record(raw: bytes) -> VoteRecord:
    return decode(VoteRecord, raw, limit=_RECORD_BYTES_MAX)


def _covers(raw: bytes | None, stored: bytes) -> bool:
    """Whether the file's record holds every statement of the store's, or is of a later view: records
    without blocks or certificates are not synced to the store, so the file may be ahead of it."""
    if raw is None:
        return False
    record, known = _record(raw), _record(stored)
    if (record.epoch, record.view) != (known.epoch, known.view):
        return (record.epoch, record.view) > (known.epoch, known.view)
    return known.voted in (NO_BLOCK, record.voted) and record.nulled >= known.nulled
