"""The corpus: for every door, small inputs that it lets in or refuses, each for another reason.

`corpus.tsv` has one a line: the door, `in` or `out`, the bytes in hexadecimal, and the reason of a refusal.
The bytes are a snapshot of the format: where one that was let in is now refused, or the other way round,
the format has changed. If it was meant to, `uv run python -m tests.fuzz --renew-corpus` writes it anew.
"""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.doors import CHECKED, DECODERS, FRAMED, JSON, TEXTS, Door
from tests.fuzz.mutate import everywhere, mutate

FILE: Final = Path(__file__).parent / "corpus.tsv"
DOORS: Final = [*DECODERS, *CHECKED, *FRAMED, *TEXTS, JSON[0]]
_SEED: Final = "corpus"
_TRIES: Final = 1500
_BYTES_MAX: Final = 300
_PER_DOOR: Final = 6


class Line(NamedTuple):
    door: str
    verdict: str  # in or out
    raw: bytes
    reason: str


def read() -> Iterator[Line]:
    for text in FILE.read_text("utf-8").splitlines():
        door, verdict, octets, reason = text.split("\t")
        yield Line(door, verdict, bytes.fromhex(octets), reason)


def renew() -> int:
    """Writes the corpus anew, always the same for the same doors; the number of its lines."""
    lines = [line for door in DOORS for line in _distil(door)]
    FILE.write_text(
        "".join(f"{one.door}\t{one.verdict}\t{one.raw.hex()}\t{one.reason}\n" for one in lines), "utf-8"
    )
    return len(lines)


def _distil(door: Door) -> list[Line]:
    """Of many spoiled inputs the smallest for each reason to refuse; and the smallest two let in."""
    dice = random.Random(f"{_SEED}/{door.name}")
    samples = sorted({door.sample(dice) for _ in range(6)}, key=lambda raw: (len(raw), raw))
    tried = [*samples, *(raw for _, raw in everywhere(samples[0]))]
    tried += [mutate(dice, dice.choice(samples), samples) for _ in range(_TRIES)]
    smallest: dict[str, bytes] = {}
    let_in: list[bytes] = []
    for raw in sorted(set(tried), key=lambda raw: (len(raw), raw)):
        reason = _reason(door, raw)
        if reason is None:
            let_in.append(raw)
        elif len(raw) <= _BYTES_MAX:
            smallest.setdefault(reason, raw)
    chosen = sorted(smallest.items(), key=lambda item: (len(item[1]), item[1]))[-_PER_DOOR:]
    return [Line(door.name, "in", raw, "") for raw in let_in[:2]] + [
        Line(door.name, "out", raw, reason) for reason, raw in chosen
    ]


def _reason(door: Door, raw: bytes) -> str | None:
    """Why `door` refuses, without the place in the message; None where it lets in."""
    try:
        door.enter(raw)
    except door.refusals as error:
        told = f"{error}: {error.__cause__}" if error.__cause__ else str(error)
        return re.sub(r"`\$[^`]*`|\d+|\s+|'[^']*'", " ", told).strip()[:120]
    return None
