"""What the parsers' program can be asked for: bytes in, bytes out."""

from collections.abc import Callable
from typing import BinaryIO, Final

from node.parsers.checks import check_file
from node.parsers.confine import allow_time
from protocol.examined import decode_asked, encode_examined


def check(given: BinaryIO, out: BinaryIO) -> None:
    """Says of each file that is named what was found, one a line."""
    for one in decode_asked(given.read()):
        allow_time()
        out.write(encode_examined(check_file(one.path, one.type)) + b"\n")
        out.flush()


JOBS: Final[dict[str, Callable[[BinaryIO, BinaryIO], None]]] = {"check": check}
