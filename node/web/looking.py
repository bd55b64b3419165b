"""A look into a record by the parsers' program: what it makes of bytes, or why it makes nothing of them."""

import sys
from base64 import b64encode
from subprocess import DEVNULL, PIPE
from typing import Final, NamedTuple

import trio

from protocol import limits
from protocol.errors import Malformed
from protocol.examined import Narrative, decode_examined, decode_narrative

_PNG: Final = b"\x89PNG"
_READ_BYTES: Final = 64 * limits.KIB
_NOTHING: Final = "it takes more time or memory than there is for it"


class NotShown(Exception):
    """Nothing can be shown; why, as the rest of a sentence."""


class Picture(NamedTuple):
    """A PNG in base64, or why there is none."""

    png: str
    why: str


class Viewer:
    """Runs a few looks at a time; each is a process of its own and ends with its answer."""

    def __init__(self) -> None:
        self._turns = trio.CapacityLimiter(limits.LOOKS_MAX)

    async def picture(self, image: bytes) -> bytes:
        """The picture of a DICOM image as a PNG. Raises NotShown."""
        made = await self._look("picture", image, limits.PICTURE_BYTES_MAX)
        if made.startswith(_PNG):
            return made
        raise NotShown(_why(made))

    async def drawn(self, image: bytes) -> Picture:
        """As `picture`, for a page to show or to say why not."""
        try:
            return Picture(b64encode(await self.picture(image)).decode(), "")
        except NotShown as error:
            return Picture("", str(error))

    async def narrative(self, document: bytes) -> Narrative:
        """What a CDA document says. Raises NotShown."""
        # In JSON a character may take six bytes.
        made = await self._look("narrative", document, limits.MIB + 6 * limits.NARRATIVE_CHARS_MAX)
        try:
            return decode_narrative(made)
        except Malformed:
            raise NotShown(_why(made)) from None

    async def _look(self, job: str, given: bytes, most: int) -> bytes:
        """What the program wrote, empty where it was ended for taking or saying too much."""
        async with self._turns:
            with trio.move_on_after(limits.LOOK_S):
                program = [sys.executable, "-P", "-m", "node.parsers", job]
                process = await trio.lowlevel.open_process(program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
                try:
                    return await _exchange(process, given, most)
                finally:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()
        return b""


async def _exchange(process: trio.Process, given: bytes, most: int) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    made = bytearray()
    async with process.stdin, process.stdout, trio.open_nursery() as nursery:
        nursery.start_soon(_feed, process.stdin, given)
        while len(made) <= most and (some := await process.stdout.receive_some(_READ_BYTES)):
            made += some
        nursery.cancel_scope.cancel()
    return bytes(made) if len(made) <= most else b""


async def _feed(stdin: trio.abc.SendStream, given: bytes) -> None:
    try:
        await stdin.send_all(given)
        await stdin.aclose()
    except trio.BrokenResourceError:
        return  # It has seen enough, or is gone: what it wrote says which.


def _why(made: bytes) -> str:
    try:
        return decode_examined(made).why
    except Malformed:
        return _NOTHING
