"""The doors for a study: its head, and the whole record as it comes in."""

import hashlib
import random
from typing import Final

from protocol.study import StudyFile, Unpacker, decode_head, encode_head

_WORDS = ("", "1.2.840.10008.7", "CT")


def head(raw: bytes) -> bytes:
    return encode_head(decode_head(raw).files)


def unpacked(raw: bytes) -> bytes:
    unpacker = Unpacker()
    content = b"".join(
        some for at in range(0, len(raw), 64) for _, some, _ in unpacker.feed(raw[at : at + 64])
    )
    study = unpacker.finish()
    assert len(content) == study.length - study.head_length
    return encode_head(study.files) + content


def made_head(dice: random.Random) -> bytes:
    return _made(dice)[0]


def made_record(dice: random.Random) -> bytes:
    return b"".join(_made(dice))


def _made(dice: random.Random) -> tuple[bytes, bytes]:
    contents = {
        f"{dice.choice(('a', 'IM', 'b/c'))}/{number}": dice.randbytes(dice.choice((0, 1, 40)))
        for number in range(dice.randint(1, 3))
    }
    files = [
        StudyFile(path, len(one), hashlib.sha256(one).digest(), *(dice.choice(_WORDS) for _ in range(3)))
        for path, one in contents.items()
    ]
    return encode_head(files), b"".join(contents[path] for path in sorted(contents))


DOORS: Final = (
    ("protocol.study.decode_head", head, made_head),
    ("protocol.study.Unpacker", unpacked, made_record),
)
