"""What the fields of a form may say."""

from collections.abc import Collection

from protocol import limits
from protocol.errors import Code, Refused, UserError


def one(form: dict[str, list[str]], key: str) -> str:
    """The one value of a field. Raises UserError where there is none, or more."""
    match form.get(key):
        case [str(value)] if 0 < len(value) <= limits.CONTROL_NAME_CHARS_MAX:
            return value
        case _:
            raise unclear(key)


def days(text: str, choices: Collection[int]) -> int:
    """Raises UserError where it is none of the choices."""
    if text.isdecimal() and int(text) in choices:
        return int(text)
    raise unclear("for how many days")


def identity(text: str) -> str:
    """Raises Refused where it is no id: what is not there and what cannot be there look alike."""
    if 6 <= len(text) <= 66 and set(text) <= set("0123456789abcdef"):
        return text
    raise Refused


def unclear(what: str) -> UserError:
    return UserError(f"the form does not say clearly: {what}", "load the page again", code=Code.USAGE)
