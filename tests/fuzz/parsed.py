"""The doors for what is said between a node and the parsers' program, in both directions."""

import random
from typing import Any, Final, get_args

from protocol import examined
from protocol.examined import Examined, Narrative, NarrativeSection, ToExamine

_WORDS: Final = ("", "fhir", "not a resource: {}", 'a"\\\n\u2028b', "1.2.840.10008.7")


def _text(dice: random.Random) -> str:
    return dice.choice(_WORDS)


def made_asked(dice: random.Random) -> bytes:
    return examined.encode_asked([ToExamine(_text(dice), _text(dice)) for _ in range(dice.randint(0, 3))])


def made_examined(dice: random.Random) -> bytes:
    states: Any = get_args(Examined.__annotations__["state"])
    return examined.encode_examined(
        Examined(_text(dice), dice.choice(states), *(_text(dice) for _ in range(4)))
    )


def made_narrative(dice: random.Random) -> bytes:
    sections = tuple(
        NarrativeSection(_text(dice), tuple(_text(dice) for _ in range(dice.randint(0, 3))))
        for _ in range(dice.randint(0, 3))
    )
    return examined.encode_examined(Narrative(_text(dice), sections, dice.random() < 0.5))


def asked(raw: bytes) -> bytes:
    value = examined.decode_asked(raw)
    assert examined.decode_asked(examined.encode_asked(value)) == value
    return raw


def found(raw: bytes) -> bytes:
    value = examined.decode_examined(raw)
    assert examined.decode_examined(examined.encode_examined(value)) == value
    return raw


def narrative(raw: bytes) -> bytes:
    value = examined.decode_narrative(raw)
    assert examined.decode_narrative(examined.encode_examined(value)) == value
    return raw


DOORS: Final = (
    ("protocol.examined.decode_asked", asked, made_asked),
    ("protocol.examined.decode_examined", found, made_examined),
    ("protocol.examined.decode_narrative", narrative, made_narrative),
)
