"""Exports that are not what their owner made, and those in which she lies herself: none is believed."""

import hashlib
from collections.abc import Callable
from dataclasses import replace as replace_fields

import pytest
from msgspec.structs import replace

from protocol.blocks import network_id
from protocol.codec import Wire, encode
from protocol.errors import Code
from protocol.export import (
    ExportEnd,
    ExportHead,
    ExportLog,
    ExportMembers,
    ExportPiece,
    ExportRecord,
    ExportWriter,
    decode_section,
    sign_export,
)
from protocol.keys import PublicKey
from protocol.proofs import Route
from protocol.transactions import TokenId
from tests.sim.exports import (
    LETTER,
    Taken,
    changed,
    places,
    refused,
    section_of,
    two_records,
    verified,
)


@pytest.fixture(scope="module")
def export_of_two() -> Taken:
    return two_records().file


def without(found: list[bytes], kind: type[Wire], which: int = -1) -> list[bytes]:
    """A file without one section of a kind."""
    at = places(found, kind)[which]
    return found[:at] + found[at + 1 :]


def twice(found: list[bytes], kind: type[Wire]) -> list[bytes]:
    """A file with the last section of a kind a second time, behind itself."""
    at = places(found, kind)[-1]
    return found[: at + 1] + found[at:]


def exchanged(found: list[bytes], kind: type[Wire]) -> list[bytes]:
    """A file with the first and the last section of a kind in each other's places."""
    first, *_, last = places(found, kind)
    other = [*found]
    other[first], other[last] = other[last], other[first]
    return other


def without_last_record(found: list[bytes]) -> list[bytes]:
    return found[: places(found, ExportRecord)[-1]] + found[places(found, ExportPiece)[-1] + 1 :]


SPOILED: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "nothing": lambda _: [],
    "no head": lambda found: without(found, ExportHead),
    "no members": lambda found: without(found, ExportMembers),
    "no end": lambda found: without(found, ExportEnd),
    "a log left out": lambda found: without(found, ExportLog),
    "a piece left out": lambda found: without(found, ExportPiece, 0),
    "a record left out": without_last_record,
    "a record twice": lambda found: twice(found, ExportRecord),
    "a piece twice": lambda found: twice(found, ExportPiece),
    "a log twice": lambda found: twice(found, ExportLog),
    "two heads": lambda found: twice(found, ExportHead),
    "two lists of members": lambda found: twice(found, ExportMembers),
    "two ends": lambda found: twice(found, ExportEnd),
    "more after the end": lambda found: [*found, found[places(found, ExportRecord)[0]]],
    "records exchanged": lambda found: exchanged(found, ExportRecord),
    "logs exchanged": lambda found: exchanged(found, ExportLog),
    "contents exchanged": lambda found: exchanged(found, ExportPiece),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_file_that_is_not_all_that_was_signed_proves_nothing(export_of_two: Taken, how: str) -> None:
    assert refused(SPOILED[how](export_of_two.sections), export_of_two).code is Code.EXPORT


def before(found: list[bytes], kind: type[Wire], other: type[Wire]) -> list[bytes]:
    """A file with the last section of a kind moved to where the last of another kind is."""
    moved = found[places(found, kind)[-1]]
    rest = [one for one in found if one is not moved]
    at = places(rest, other)[-1]
    return [*rest[:at], moved, *rest[at:]]


def after_members(found: list[bytes]) -> list[bytes]:
    """A file with the last record, and its content, behind the members."""
    start, end = places(found, ExportRecord)[-1], places(found, ExportMembers)[0]
    return [*found[:start], found[end], *found[start:end], *found[end + 1 :]]


def repeated(found: list[bytes]) -> list[bytes]:
    """A file with the first record, and its content, a second time."""
    first, second = places(found, ExportRecord)
    return [*found[:second], *found[first:]]


ORDERS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "nothing": lambda _: [],
    "no head": lambda found: without(found, ExportHead),
    "no members": lambda found: without(found, ExportMembers),
    "two heads": lambda found: twice(found, ExportHead),
    "two lists of members": lambda found: twice(found, ExportMembers),
    "a piece left out": lambda found: without(found, ExportPiece, 0),
    "a piece twice": lambda found: twice(found, ExportPiece),
    "a record left out": without_last_record,
    "a record twice": repeated,
    "a record before the content of another": lambda found: exchanged(found, ExportRecord),
    "the members before a record's content": lambda found: before(found, ExportMembers, ExportPiece),
    "a record after the members": after_members,
    "a log before the members": lambda found: before(found, ExportLog, ExportMembers),
    "a log twice": lambda found: twice(found, ExportLog),
}


@pytest.mark.parametrize("order", ORDERS)
def test_sections_that_are_not_where_they_should_be_are_refused_whoever_signs_them(
    export_of_two: Taken, order: str
) -> None:
    lied = export_of_two.signed_again(ORDERS[order](export_of_two.sections))
    assert refused(lied, export_of_two).code is Code.EXPORT


def test_a_file_of_no_record_proves_nothing(export_of_two: Taken) -> None:
    one = replace_fields(export_of_two, owners=[])
    found = [raw for raw in one.sections if not isinstance(decode_section(raw), ExportPiece | ExportRecord)]
    found = changed(found, ExportHead, 0, records=0)
    found = [raw for raw in found if not isinstance(decode_section(raw), ExportLog)]
    assert "more or fewer" in refused(one.signed_again(found), one).message


LIES: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "other content": lambda found: changed(found, ExportPiece, -1, content=LETTER[::-1]),
    "less content": lambda found: changed(found, ExportPiece, -1, content=LETTER[:-1]),
    "more content": lambda found: changed(found, ExportPiece, -1, content=LETTER + b"!"),
    "the key of another content": lambda found: changed(found, ExportRecord, 0, content_key=bytes(32)),
    "no key": lambda found: changed(found, ExportRecord, 0, content_key=b""),
    "another token": lambda found: changed(found, ExportRecord, 0, token=TokenId(bytes(32))),
    "no proof": lambda found: changed(found, ExportRecord, 0, proofs=()),
    "a consent hidden": lambda found: changed(found, ExportRecord, 0, bodies=()),
    "the consents of another record": lambda found: changed(
        found, ExportRecord, 0, bodies=section_of(found, ExportRecord, 1).bodies
    ),
    "the proof of another record": lambda found: changed(
        found, ExportRecord, 0, proofs=section_of(found, ExportRecord, 1).proofs
    ),
    "a log of nobody": lambda found: changed(found, ExportLog, 0, member=PublicKey(b"\x01" + bytes(32))),
    "the log of another clinic": lambda found: changed(
        found, ExportLog, 0, head=section_of(found, ExportLog, 1).head
    ),
    "a log of no record": lambda found: changed(found, ExportLog, 0, tokens=()),
    "a log of a record that is not in the file": lambda found: changed(
        found, ExportLog, 0, tokens=(TokenId(bytes(32)),), entries=()
    ),
    "a key that is too short": lambda found: changed(found, ExportRecord, 0, content_key=bytes(31)),
    "members by a header that is not final": lambda found: changed(
        found, ExportMembers, 0, route=unsigned(section_of(found, ExportMembers, 0).route)
    ),
    "a record fewer than was said": lambda found: changed(found, ExportHead, 0, records=3),
}


def unsigned(route: Route) -> Route:
    """The way to a header that was changed after it was voted for."""
    return replace(route, header=replace(route.header, time_ms=route.header.time_ms - 1))


@pytest.mark.parametrize("lie", LIES)
def test_an_owner_cannot_say_what_the_ledger_does_not(export_of_two: Taken, lie: str) -> None:
    """She may sign what she likes, and is not believed."""
    lied = export_of_two.signed_again(LIES[lie](export_of_two.sections))
    assert refused(lied, export_of_two).code is Code.EXPORT


def test_signing_again_what_was_not_changed_changes_nothing(export_of_two: Taken) -> None:
    assert export_of_two.signed_again(export_of_two.sections) == export_of_two.sections


def test_no_byte_of_an_export_can_be_another(export_of_two: Taken) -> None:
    """Of each section a number of bytes, at places that its hash draws."""
    for at, section in enumerate(export_of_two.sections):
        drawn = hashlib.sha256(section).digest()
        for where in {int.from_bytes(drawn[i : i + 4], "big") % len(section) for i in range(0, 32, 4)}:
            spoiled = bytearray(section)
            spoiled[where] ^= 1 << drawn[0] % 8
            found = [*export_of_two.sections]
            found[at] = bytes(spoiled)
            assert refused(found, export_of_two).code in (Code.EXPORT, Code.WRONG_NETWORK), (at, where)


def test_nothing_is_added_behind_the_end(export_of_two: Taken) -> None:
    """Nobody signs it: neither a list of accesses that was left out before, nor a second end."""
    found = export_of_two.sections
    log = found[places(found, ExportLog)[-1]]
    less = export_of_two.signed_again(without(found, ExportLog))
    assert verified(less, export_of_two.genesis, export_of_two.now_ms).records
    assert refused([*less, log], export_of_two).code is Code.EXPORT
    writer = ExportWriter()
    for section in found:
        writer.count(section)
    network = network_id(export_of_two.genesis)
    signatures = tuple(sign_export(writer.hash, key, network) for key in export_of_two.owners)
    assert refused([*found, encode(ExportEnd(signatures))], export_of_two).code is Code.EXPORT


def test_a_consent_that_comes_twice_is_named_as_such(export_of_two: Taken) -> None:
    """Counted twice it would hide another."""
    found = export_of_two.sections
    bodies = section_of(found, ExportRecord, 0).bodies
    lied = export_of_two.signed_again(changed(found, ExportRecord, 0, bodies=bodies * 2))
    assert "comes twice" in refused(lied, export_of_two).message


def test_the_consents_of_another_record_are_named_as_such(export_of_two: Taken) -> None:
    found = export_of_two.sections
    other = section_of(found, ExportRecord, 1).bodies
    lied = export_of_two.signed_again(changed(found, ExportRecord, 0, bodies=other))
    assert "not one of this record's" in refused(lied, export_of_two).message


def test_an_export_from_a_time_to_come_is_refused(export_of_two: Taken) -> None:
    assert refused(export_of_two.sections, export_of_two, 0).code is Code.EXPORT
