"""What people read: times, sizes and sentences. Plain text; the templates escape it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from protocol.control import (
    KIND_WORDS,
    AccessItem,
    GrantItem,
    PreviewVerdict,
    ProvisionItem,
    RequestItem,
    Stopped,
)

_SHORT_CHARS: Final = 12
_PURPOSES: Final = {
    "TREAT": "treatment",
    "ETREAT": "emergency treatment",
    "HPAYMT": "payment",
    "HOPERAT": "running the clinic",
    "HRESCH": "research",
    "PUBHLTH": "public health",
    "PATRQT": "the patient's own use",
}


def plain(text: str) -> str:
    """`text` without characters that show nothing, or turn what stands around them."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def local(utc: str) -> datetime:
    """A UTC time of the contract in local time. Raises ValueError where it is none."""
    return datetime.fromisoformat(utc).astimezone()


def when(utc: str | None) -> str:
    """Day and time, as `23 Dec 2026, 14:05`."""
    return _told(utc, "%-d %b %Y, %H:%M")


def day(utc: str | None) -> str:
    """As `23 Dec 2026`."""
    return _told(utc, "%-d %b %Y")


def month(utc: str | None) -> str:
    """As `December 2026`."""
    return _told(utc, "%B %Y")


def size(count: float) -> str:
    """Bytes with a binary unit, e.g. `1.4 MiB`."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    step = 0
    while count >= 1024 and step < len(units) - 1:
        count /= 1024
        step += 1
    return f"{count:.0f} {units[step]}" if step == 0 or count >= 100 else f"{count:.1f} {units[step]}"


def span(seconds: float) -> str:
    """A length of time in its two largest units, e.g. `3 d 4 h`, `12 s`."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    parts = (
        (whole // 86400, "d"),
        (whole // 3600 % 24, "h"),
        (whole // 60 % 60, "min"),
        (whole % 60, "s"),
    )
    return " ".join([f"{count} {unit}" for count, unit in parts if count][:2])


def short(identity: str) -> str:
    """The beginning of an id, enough to tell it from others."""
    return identity[:_SHORT_CHARS]


def sentence(text: str) -> str:
    """A message of the node as the beginning of a line."""
    return text[:1].upper() + text[1:]


def named(name: str, identity: str) -> str:
    """What to call a member: its name, else its id."""
    return name or short(identity)


def counted(count: int, one: str, many: str = "") -> str:
    """As `1 record`, `2 records`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def purpose(code: str) -> str:
    """A code of HL7 PurposeOfUse in words, or the code."""
    return _PURPOSES.get(code, code)


def purposes(codes: Sequence[str]) -> str:
    return " and ".join(map(purpose, codes))


def parted(grants: Sequence[GrantItem]) -> tuple[list[GrantItem], list[GrantItem]]:
    """Those that are live or about to be, and those that are over."""
    live = [one for one in grants if one.state in ("live", "pending")]
    return live, [one for one in grants if one not in live]


def can_read(grants: Sequence[GrantItem]) -> str:
    """What new grants to one clinic mean, as `clinic-b can read 2 records until 23 Dec 2026.`"""
    first = grants[0]
    what = "this record" if len(grants) == 1 else counted(len(grants), "record")
    late = "" if all(one.final for one in grants) else " It is accepted, and not final yet."
    return f"{named(first.grantee_name, first.grantee)} can read {what} until {day(first.not_after)}.{late}"


def provided(one: ProvisionItem) -> str:
    """What is shared as it comes, as the rest of a sentence."""
    by = f" that {named(one.issuer_name, one.issuer)} added" if one.issuer else ""
    since = f" since {day(one.since)}" if one.since is not None else ""
    return (
        f"is let read {KIND_WORDS[one.kind]}{by}{since}, also those that come until {day(one.not_after)}, "
        f"for {purposes(one.purposes)}."
    )


def verdict(one: PreviewVerdict) -> str:
    """`can read`, or why not."""
    return "can read" if one.can_read else f"cannot, because {one.why}"


def requested(request: RequestItem) -> str:
    """What a clinic asks for, as `asks to read all records for treatment, for 30 d.`"""
    named_ones = ", ".join(f"“{one.title or short(one.token)}”" for one in request.records)
    what = (
        KIND_WORDS[request.kind] if request.kind else named_ones or "records that you do not have any more"
    )
    more = " more" if request.renews else ""
    return f"asks to read {what} for {purposes(request.purposes)}, for {span(request.for_s)}{more}."


def has_stopped(stopped: Stopped) -> str:
    """What a stop came to, and what it does not undo."""
    reached, total = len(stopped.stopped_at), len(stopped.stopped_at) + len(stopped.unreached)
    rest = f"; the rest will stop within {span(stopped.bound_s)}" if stopped.unreached else ""
    if not stopped.final:
        rest += " of its being final, which it is not yet" if rest else "; it is not final yet"
    names = ", ".join(stopped.unreached_names)
    away = f" Not reached: {names}." if names else ""
    return (
        f"Stopped: {reached} of {total} clinics refuse {stopped.grantee_name} from now on{rest}."
        f"{away} Copies that were already read are not undone."
    )


def access(item: AccessItem) -> str:
    """One line of who read, as `dr.b of clinic-b read it for treatment.`"""
    if item.member_name == "you":
        return "You read it." if item.outcome == "served" else "You asked for it and were refused."
    who = f"{item.user or 'Somebody'} of {named(item.member_name, item.member)}"
    act = "read it" if item.outcome == "served" else "asked for it and was refused"
    return f"{who} {act}, for {purpose(item.purpose)}."


def _told(utc: str | None, pattern: str) -> str:
    if utc is None:
        return "–"
    try:
        return f"{local(utc):{pattern}}"
    except (ValueError, OverflowError):
        return utc
