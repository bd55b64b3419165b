"""How far the fetch of one record is: what was opened, who refused, and what the whole came to."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from protocol.access import FetchRequest
from protocol.blobs import PIECE_BYTES, Opener, RangeOpener
from protocol.codec import encode
from protocol.errors import ChartmeshError, Malformed, Refused, TransportError
from protocol.keys import PublicKey, SigningKey
from protocol.messages.blob import Refusal, decode_chunk_frame
from protocol.transactions import Content, TokenId

REFUSAL: Final = encode(Refusal())

Write = Callable[[bytes], Awaitable[None]]
"""Takes the next piece of plaintext. Nothing is final before `fetch` returns."""


Earlier = AsyncIterator[bytes]
"""The record's first bytes, in any pieces, which an earlier run brought: whole pieces of the record."""


@dataclass(frozen=True, slots=True)
class FetchAsk:
    """What to fetch and in whose name. `grant_body` is empty for an owner.

    Without `content` or `content_key` nothing can be opened: the holders are asked all the same, since
    only they refuse, and then nobody can tell what is missing here from what is refused there. `span` are
    the first byte and the one after the last, where only these are wanted.
    """

    token: TokenId
    content: Content | None
    content_key: bytes | None
    signer: SigningKey
    grant_body: bytes
    purpose: str
    user: str
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SeenRefusal:
    """One member's refusal and the SHA-256 of its bytes, to show that all are the same."""

    member: PublicKey
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Fetched:
    """All that was asked for was handed on. `source` served the last chunk, under `audit_sequence` of its
    log."""

    source: PublicKey
    audit_sequence: int
    length: int
    sha256: bytes
    refusals: tuple[SeenRefusal, ...]


class FetchRefused(Refused):
    """Nobody serves this; `refusals` are those that were seen."""

    def __init__(self, refusals: tuple[SeenRefusal, ...]) -> None:
        super().__init__()
        self.refusals = refusals


class RefusedBySource(ChartmeshError):
    """The source does not serve this, or not any more. `raw` is its refusal as it came."""

    def __init__(self, raw: bytes) -> None:
        super().__init__("the source refuses")
        self.raw = raw


class FetchRun:
    """How far one fetch is, whoever serves it."""

    def __init__(self, ask: FetchAsk, write: Write) -> None:
        self.ask, self.write = ask, write
        self.slow: set[PublicKey] = set()
        self.is_patient = True  # with the source that is asked now: no other might be faster
        self._opener = _opener(ask)
        self._hasher = hashlib.sha256()
        self._length = 0
        self._refusals: list[SeenRefusal] = []
        self._source: PublicKey | None = None
        self._sequences: dict[PublicKey, int] = {}

    @property
    def next_chunk(self) -> int:
        return 0 if self._opener is None else self._opener.index

    @property
    def chunks_left(self) -> int:
        return 0 if self._opener is None else self._opener.stop - self._opener.index

    @property
    def is_complete(self) -> bool:
        return self._opener is not None and self._opener.index == self._opener.stop

    def request(self, server: PublicKey, nonce: bytes, time_ms: int) -> FetchRequest:
        """For all chunks that are wanted, from the first that is missing on."""
        chunks = 1 if self.ask.content is None else self.ask.content.chunks
        if self._opener is not None:
            chunks = self._opener.stop
        return FetchRequest(
            token=self.ask.token,
            grant_body=self.ask.grant_body,
            signer=self.ask.signer.public,
            server=server,
            nonce=nonce,
            purpose=self.ask.purpose,
            user=self.ask.user,
            first_chunk=self.next_chunk,
            chunk_count=chunks - self.next_chunk,
            time_ms=time_ms,
        )

    def refused(self, member: PublicKey, raw: bytes) -> None:
        self._refusals.append(SeenRefusal(member, hashlib.sha256(raw).digest()))

    def served(self, source: PublicKey, content: Content, sequence: int) -> None:
        """Raises Malformed where the content is not the token's, or nothing here can open it."""
        if self._opener is None or content != self.ask.content:
            raise Malformed("other content was served than the token's")
        self._source = source
        self._sequences[source] = sequence

    def recall(self, octets: bytes) -> None:
        """Counts the next pieces as opened by an earlier run: `octets` are their plaintext, read back.

        Whether they are right shows only in the end. There is always something left to fetch: a record of
        whole pieces is padded with another. Runs in a thread. Raises Malformed: no pieces of this record.
        """
        if self._opener is None:
            return
        for start in range(0, len(octets), PIECE_BYTES):
            if not isinstance(self._opener, Opener):
                raise Malformed("a range is fetched whole")
            piece = self._opener.recall(octets[start : start + PIECE_BYTES])
            self._hasher.update(piece)
            self._length += len(piece)

    def open(self, frames: Sequence[bytes], source: PublicKey) -> tuple[list[bytes], ChartmeshError | None]:
        """The plaintext of `frames`, which came from `source`, up to the first that is not the next chunk,
        and that one's error.

        Runs in a thread.
        """
        assert self._opener is not None, "nothing was served"
        pieces: list[bytes] = []
        for frame in frames:
            if frame == REFUSAL:
                return pieces, RefusedBySource(frame)
            try:
                chunk = decode_chunk_frame(frame)
                if chunk.index != self._opener.index:
                    raise Malformed("a chunk came that was not the next one")
                pieces.append(self._opener.open(chunk.ciphertext, chunk.path))
            except Malformed as error:
                return pieces, error
            self._source = source
            self._hasher.update(pieces[-1])
            self._length += len(pieces[-1])
        return pieces, None

    def finish(self) -> Fetched:
        """Raises Malformed where a whole record is not what the token commits to."""
        assert self._opener is not None
        assert self._source is not None
        self._opener.finish()
        sequence = self._sequences[self._source]
        return Fetched(self._source, sequence, self._length, self._hasher.digest(), tuple(self._refusals))

    def failure(self) -> ChartmeshError:
        """Why nothing came, once nobody is left to ask."""
        if self._refusals:
            return FetchRefused(tuple(self._refusals))
        if self._source is None:
            return TransportError(
                "no clinic that may hold this record can be reached",
                "check `chartmesh peers`, and try again",
            )
        return TransportError(
            "no clinic served the whole record", "try again, or tell the clinic that issued it"
        )


def _opener(ask: FetchAsk) -> Opener | RangeOpener | None:
    """None where nothing can be opened. Raises Malformed: not the key, or no range of the record."""
    if ask.content is None or ask.content_key is None:
        return None
    if ask.span is None:
        return Opener(ask.content, ask.content_key)
    return RangeOpener(ask.content, ask.content_key, *ask.span)
