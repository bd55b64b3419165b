"""Access requests in plain words, for the clinic that asks and the patient who is asked."""

from cli import render
from cli.values import PURPOSES
from protocol.control import KIND_WORDS, RequestItem

_WORDS = {code: word.replace("-", " ") for word, code in PURPOSES.items()}


def what(one: RequestItem) -> str:
    """What is asked for."""
    if one.kind:
        return KIND_WORDS.get(one.kind, one.kind)
    names = ", ".join(record.title or render.short(record.token) for record in one.records)
    return names or "records that you do not have any more"


def why(one: RequestItem) -> str:
    """What it is wanted for."""
    return " and ".join(_WORDS.get(code, code) for code in one.purposes)


def length(one: RequestItem) -> str:
    """How long it would last."""
    return render.span(one.for_s)


def print_request(one: RequestItem) -> None:
    """One request in full, to the clinic that made it."""
    for label, value in (
        ("request", one.request),
        ("what", what(one)),
        ("for", ", ".join(one.purposes)),
        ("lasts", length(one)),
        ("stands until", render.when(one.not_after)),
        ("renews", one.renews or "-"),
        ("state", one.state),
    ):
        render.say(f"{label:<13} {value}")
