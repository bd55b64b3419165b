"""A patient takes her records with her: an export of the simulated world, verified with no world at all."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest
import trio
from msgspec.structs import replace

from node.store import layout
from protocol.audit_map import LogFlaw
from protocol.blocks import Genesis, network_id
from protocol.codec import Wire, encode
from protocol.control import MyExport, MyExportResult, MyStop
from protocol.errors import Code, UserError
from protocol.export import (
    LENGTH_BYTES,
    MAGIC,
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
from protocol.exported import ExportVerifier, ShownExport
from protocol.keys import PublicKey, SigningKey
from protocol.limits import DAY_MS
from protocol.proofs import Standing
from protocol.transactions import TokenId
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, get, play, receive_code, share

S = TypeVar("S", bound=Wire)
LETTER = b"%PDF-1.7 a letter"


@dataclass
class Export:
    """A file as it came, and the result that followed."""

    raw: bytes
    result: MyExportResult


async def export(someone: Someone, *records: str) -> Export:
    parts: list[bytes] = []

    async def write(piece: bytes) -> None:
        parts.append(piece)

    result = await someone.patient.exporter.export(MyExport(records=records), write)
    return Export(b"".join(parts), result)


def sections(raw: bytes) -> list[bytes]:
    """The encoded sections of a file."""
    assert raw.startswith(MAGIC)
    at, found = len(MAGIC), list[bytes]()
    while at < len(raw):
        length = int.from_bytes(raw[at : at + LENGTH_BYTES], "big")
        found.append(raw[at + LENGTH_BYTES : at + LENGTH_BYTES + length])
        at += LENGTH_BYTES + length
    return found


def verified(found: list[bytes], genesis: Genesis, now_ms: int) -> ShownExport:
    verifier = ExportVerifier(genesis, now_ms)
    for section in found:
        verifier.take(section)
    return verifier.finish()


@dataclass
class Taken:
    """An export that was made, what it takes to verify it, and what is true of it."""

    sections: list[bytes]
    genesis: Genesis
    now_ms: int
    bundle: str
    letter: str
    grant: str
    owners: list[SigningKey]

    def signed_again(self, found: list[bytes]) -> list[bytes]:
        """The sections with an end that their owner signs: whatever she says in them."""
        writer = ExportWriter()
        for section in found[:-1]:
            writer.count(section)
        signatures = (sign_export(writer.hash, key, network_id(self.genesis)) for key in self.owners)
        return [*found[:-1], encode(ExportEnd(tuple(signatures)))]


def taken() -> Taken:
    """Two records of one clinic: a bundle that another clinic was let read and has read, and a letter of
    which the share was stopped."""
    made: list[Taken] = []

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader = cluster.nodes[0], cluster.nodes[1]
        bundle = (await add(issuer, await receive_code(someone, issuer), RECORD)).token
        letter = (await add(issuer, await receive_code(someone, issuer), LETTER, name="letter.pdf")).token
        await trio.sleep(5)
        grant = await share(someone, bundle, reader)
        await someone.my.stop(MyStop(id=await share(someone, letter, reader)))
        assert (await get(reader, bundle))[1] == RECORD
        file = await export(someone)
        assert (file.result.records, file.result.left_out, file.result.unreached) == (2, (), ())
        assert file.result.bytes == len(file.raw)
        now_ms = cluster.nodes[0].clock.wall_ms()
        owners = [someone.wallet.owner_key(record) for record in someone.wallet.records()]
        made.append(
            Taken(sections(file.raw), someone.patient.genesis, now_ms, bundle, letter, grant, owners)
        )

    play(story)
    return made[0]


@pytest.fixture(scope="module")
def export_of_two() -> Taken:
    return taken()


def test_an_export_proves_records_consents_and_accesses_without_any_network(export_of_two: Taken) -> None:
    one = export_of_two
    shown = verified(one.sections, one.genesis, one.now_ms + 400 * DAY_MS)
    assert [record.token.hex() for record in shown.records] == [one.bundle, one.letter]
    contents = [record.sha256 for record in shown.records]
    assert contents == [hashlib.sha256(content).digest() for content in (RECORD, LETTER)]
    assert [[consent.standing for consent in record.consents] for record in shown.records] == [
        [Standing.LIVE],
        [Standing.REVOKED],
    ]
    assert all(record.are_all for record in shown.records)
    [reading] = [one for one in shown.accesses if one.entry.purpose == "TREAT"]
    assert (reading.entry.token.hex(), reading.entry.user) == (one.bundle, "dr b")
    assert reading.entry.grant.hex() == one.grant
    assert reading.is_receipted
    assert reading.sent_bytes >= len(RECORD)
    assert len(shown.logs) == 4
    assert all(not log.missing and log.flaw is None for log in shown.logs)


def refused(found: list[bytes], one: Taken, now_ms: int | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        verified(found, one.genesis, one.now_ms if now_ms is None else now_ms)
    return caught.value


def places(found: list[bytes], kind: type[Wire]) -> list[int]:
    """Where the sections of a kind are."""
    return [at for at, raw in enumerate(found) if isinstance(decode_section(raw), kind)]


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


def changed(found: list[bytes], kind: type[Wire], which: int, **fields: object) -> list[bytes]:
    """A file with some fields of one section other than they were."""
    at = places(found, kind)[which]
    section = replace(decode_section(found[at]), **fields)
    return [*found[:at], encode(section), *found[at + 1 :]]


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
    "a record fewer than was said": lambda found: changed(found, ExportHead, 0, records=3),
}


def section_of(found: list[bytes], kind: type[S], which: int) -> S:
    section = decode_section(found[places(found, kind)[which]])
    assert isinstance(section, kind)
    return section


@pytest.mark.parametrize("lie", LIES)
def test_an_owner_cannot_say_what_the_ledger_does_not(export_of_two: Taken, lie: str) -> None:
    """She may sign what she likes, and is not believed."""
    lied = export_of_two.signed_again(LIES[lie](export_of_two.sections))
    assert refused(lied, export_of_two).code is Code.EXPORT


def test_signing_again_what_was_not_changed_changes_nothing(export_of_two: Taken) -> None:
    assert export_of_two.signed_again(export_of_two.sections) == export_of_two.sections


def test_an_access_that_is_left_out_or_made_up_makes_the_log_a_flawed_one(export_of_two: Taken) -> None:
    found = export_of_two.sections
    which = next(
        at
        for at, place in enumerate(places(found, ExportLog))
        if any(one.purpose == "TREAT" for one in section_of(found, ExportLog, at).entries)
    )
    log = section_of(found, ExportLog, which)
    hidden = tuple(one for one in log.entries if one.purpose != "TREAT")
    invented = tuple(replace(one, user="somebody else") for one in log.entries)
    for entries in (hidden, invented):
        lied = export_of_two.signed_again(changed(found, ExportLog, which, entries=entries))
        shown = verified(lied, export_of_two.genesis, export_of_two.now_ms)
        assert [one.flaw for one in shown.logs].count(LogFlaw.CHANGED) == 1
        assert not any(
            one.is_posted or one.is_receipted for one in shown.accesses if one.server == log.member
        )


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


def test_an_export_from_a_time_to_come_is_refused(export_of_two: Taken) -> None:
    assert refused(export_of_two.sections, export_of_two, 0).code is Code.EXPORT


def test_an_export_of_another_network_is_refused(export_of_two: Taken) -> None:
    other = replace(export_of_two.genesis, name="another")
    with pytest.raises(UserError) as caught:
        verified(export_of_two.sections, other, export_of_two.now_ms)
    assert caught.value.code is Code.WRONG_NETWORK


def test_a_clinic_that_is_away_is_named_and_what_it_told_is_missing() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, away = cluster.nodes[0], cluster.nodes[3]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        away.crash()
        await trio.sleep(1)
        file = await export(someone, token[:10])
        assert file.result.unreached == (away.name,)
        shown = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms())
        [silent] = [log for log in shown.logs if log.missing]
        assert (silent.member.name, len(silent.missing)) == (away.name, 1)

    play(story)


def test_a_record_that_no_clinic_gives_is_exported_without_its_content() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        for node in cluster.nodes:
            store = node.disk.blobs
            store.write([], [key for key, _ in store.iterate(b"chunk/")])
        file = await export(someone)
        assert file.result.left_out == (token,)
        shown = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms())
        assert [record.sha256 for record in shown.records] == [b""]

    play(story)


def test_a_consent_that_the_file_does_not_tell_is_missed() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), LETTER, name="a.pdf")).token
        await trio.sleep(5)
        await share(someone, token, cluster.nodes[1])
        await share(someone, token, cluster.nodes[2])
        first, *_ = someone.store.iterate(layout.wallet(b"grant/"))
        someone.store.write([], [first[0]])
        file = await export(someone)
        [record] = verified(sections(file.raw), someone.patient.genesis, issuer.clock.wall_ms()).records
        assert (len(record.consents), record.are_all) == (1, False)

    play(story)


def test_nothing_is_no_export() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        with pytest.raises(UserError) as caught:
            await export(someone)
        assert caught.value.code is Code.REFUSED

    play(story)
