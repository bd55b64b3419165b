"""Holders of copies in a world of clinics: what each sent, and the ways in which one can send it wrong."""

from collections.abc import Callable

from node.records.serving import REFUSAL
from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import Malformed
from protocol.messages.blob import ChunkFrame
from tests.clinic_world import IDS, Record, World


async def copy(world: World, record: Record, index: int) -> None:
    source, target = world.clinics[0], world.clinics[index]
    reader = await source.vault.open(source.identity, record.content.root)
    assert reader is not None
    tree = reader._tree._levels[0]
    arriving = target.vault.create(source.identity, record.content.length)
    arriving.write([reader.chunk(at) for at in range(record.content.chunks)], tree)
    arriving.finish(record.content)
    await target.vault.close(arriving)


def chunk_of(frame: bytes) -> ChunkFrame | None:
    """The chunk in a frame, or None where it is another message."""
    try:
        return decode(ChunkFrame, frame, limit=limits.CHUNK_FRAME_BYTES_MAX)
    except Malformed:
        return None


def at_chunk(index: int, change: Callable[[ChunkFrame], bytes | None]) -> Callable[[bytes], bytes | None]:
    """Tampers with one chunk and leaves all else alone."""

    def tamper(frame: bytes) -> bytes | None:
        chunk = chunk_of(frame)
        return frame if chunk is None or chunk.index != index else change(chunk)

    return tamper


def asked_chunks(world: World, server: int) -> list[int]:
    """The chunks that a server sent, in order."""
    frames = [chunk_of(frame) for who, frame in world.net.sent if who == IDS[server]]
    return [chunk.index for chunk in frames if chunk is not None]


def _swapped(world: World, index: int) -> Callable[[bytes], bytes | None]:
    """The chunk before comes in place of this one."""
    seen: dict[int, bytes] = {}

    def tamper(frame: bytes) -> bytes:
        chunk = chunk_of(frame)
        if chunk is None:
            return frame
        seen[chunk.index] = frame
        return seen.get(index - 1, b"") if chunk.index == index else frame

    return tamper


TAMPERS: dict[str, Callable[[World, int], Callable[[bytes], bytes | None]]] = {
    "cut": lambda world, index: at_chunk(index, lambda chunk: None),
    "repeated": _swapped,
    "other-path": lambda world, index: at_chunk(
        index, lambda chunk: encode(ChunkFrame(index, chunk.path[:-1], chunk.ciphertext))
    ),
    "other-index": lambda world, index: at_chunk(
        index, lambda chunk: encode(ChunkFrame(index + 1, chunk.path, chunk.ciphertext))
    ),
    "shortened": lambda world, index: at_chunk(
        index, lambda chunk: encode(ChunkFrame(index, chunk.path, chunk.ciphertext[:-1]))
    ),
    "garbage": lambda world, index: at_chunk(index, lambda chunk: b"\xc1"),
    "refused-midway": lambda world, index: at_chunk(index, lambda chunk: REFUSAL),
}
"""How a holder spoils one chunk of what it sends."""
