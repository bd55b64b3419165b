"""What an export proves of the clinics' lists of accesses, also under the heads that they posted."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio
from msgspec.structs import replace

from protocol.audit import AuditRecord
from protocol.audit_map import LogFlaw
from protocol.blocks import network_id
from protocol.codec import encode
from protocol.errors import Code
from protocol.export import ExportLog
from protocol.exported import ShownExport, ShownLog
from protocol.keys import PublicKey, SigningKey
from protocol.messages.audit import SignedHead, open_head, sign_head
from tests.sim.epoch_world import Changing
from tests.sim.exports import (
    LETTER,
    Taken,
    changed,
    export,
    places,
    refused,
    section_of,
    sections,
    taken,
    verified,
)
from tests.sim.light_world import Someone, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import add, build_clinic, play, receive_code
from tests.sim.test_who import OFTEN, entries, exchange_log, read_until, some_accesses, until_posted
from tests.sim.world import World, simulate


@dataclass
class Posted:
    """An export with the list of `server`, of whose entries the first `posted` are under the head that it
    posted, and one more reading is not."""

    file: Taken
    server: PublicKey
    key: SigningKey
    posted: int

    @property
    def which(self) -> int:
        """Which of the file's logs is of `server`."""
        found = self.file.sections
        logs = [section_of(found, ExportLog, at) for at in range(len(places(found, ExportLog)))]
        return [log.member for log in logs].index(self.server)

    @property
    def log(self) -> ExportLog:
        return section_of(self.file.sections, ExportLog, self.which)

    def head_of(self, sequence: int, root: bytes) -> SignedHead:
        """A head of its log as `server` could sign it."""
        network = network_id(self.file.genesis)
        said = open_head(self.log.head, self.server, network)
        return sign_head(replace(said, sequence=sequence, head=root), self.key, network)

    def lied(self, **fields: object) -> list[bytes]:
        """The file with this log changed, signed by its owner."""
        found = changed(self.file.sections, ExportLog, self.which, **fields)
        return self.file.signed_again(found)


def two_readings(spoil: Callable[[list[AuditRecord]], list[AuditRecord]] | None = None) -> Posted:
    """A record's accesses under a posted head, and one after it. With `spoil` the clinic writes its log
    anew before it is asked for it."""
    made: list[Posted] = []

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, token = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        posted = len(entries(server))
        await read_until(server, reader, token, posted + 1)
        if spoil is not None:
            await exchange_log(server, spoil(entries(server)))
        file = taken(someone, (await export(someone)).raw, server.clock.wall_ms())
        made.append(Posted(file, server.identity, server.seat.id_key, posted))

    play(story, limits=OFTEN)
    return made[0]


@pytest.fixture(scope="module")
def readings() -> Posted:
    return two_readings()


def shown(one: Posted, found: list[bytes]) -> tuple[ShownExport, ShownLog]:
    """What a file proves, and of the list of the server."""
    result = verified(found, one.file.genesis, one.file.now_ms)
    [log] = [log for log in result.logs if log.member.id_key == one.server]
    return result, log


def test_what_is_under_the_posted_head_is_told_from_what_came_after_it(readings: Posted) -> None:
    result, log = shown(readings, readings.file.sections)
    assert (log.is_posted, log.flaw, log.missing) == (True, None, set())
    accesses = [one for one in result.accesses if one.server == readings.server]
    assert {one.is_posted for one in accesses} == {True, False}
    for one in accesses:
        assert one.is_posted == (one.entry.sequence <= readings.posted)
    assert all(one.is_receipted for one in accesses if one.entry.purpose == "TREAT")


LIES: dict[str, tuple[Callable[[Posted], dict[str, object]], LogFlaw]] = {
    "an entry under the head left out": (
        lambda one: {"entries": one.log.entries[1:]},
        LogFlaw.CHANGED,
    ),
    "an entry after the head left out": (
        lambda one: {"entries": one.log.entries[:-1]},
        LogFlaw.CHANGED,
    ),
    "another user": (
        lambda one: {"entries": tuple(replace(entry, user="another") for entry in one.log.entries)},
        LogFlaw.CHANGED,
    ),
    "entries in another order": (
        lambda one: {"entries": one.log.entries[::-1]},
        LogFlaw.CHANGED,
    ),
    "an entry from after the end of the log": (
        lambda one: {"entries": (*one.log.entries, replace(one.log.entries[-1], sequence=9_999))},
        LogFlaw.CHANGED,
    ),
    "no proof under its own head": (lambda one: {"shown": None}, LogFlaw.UNPROVEN),
    "no proof under the posted head": (lambda one: {"posted": None}, LogFlaw.UNPROVEN),
    "the proof of one head for the other": (lambda one: {"posted": one.log.shown}, LogFlaw.CHANGED),
    "the proof of the other head for one": (lambda one: {"shown": one.log.posted}, LogFlaw.CHANGED),
    "a head below the posted one": (
        lambda one: {"head": one.head_of(one.posted - 1, bytes(32))},
        LogFlaw.CUT,
    ),
    "a head of another log": (
        lambda one: {"head": one.head_of(one.log.entries[-1].sequence, bytes(32))},
        LogFlaw.CHANGED,
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_list_that_is_not_what_was_posted_is_a_flawed_one(readings: Posted, lie: str) -> None:
    fields, flaw = LIES[lie]
    result, log = shown(readings, readings.lied(**fields(readings)))
    assert log.flaw is flaw
    assert [one.flaw for one in result.logs].count(None) == len(result.logs) - 1
    assert not any(one.is_posted for one in result.accesses if one.server == readings.server)


def test_a_made_up_reader_is_not_borne_out_by_a_signature(readings: Posted) -> None:
    made_up = tuple(replace(entry, user="another") for entry in readings.log.entries)
    result, _ = shown(readings, readings.lied(entries=made_up))
    assert not any(one.is_receipted for one in result.accesses if one.server == readings.server)


def test_a_head_that_the_clinic_did_not_sign_spoils_the_file(readings: Posted) -> None:
    forged = replace(readings.log.head, signature=bytes(64))
    assert refused(readings.lied(head=forged), readings.file).code is Code.EXPORT


def without_readings(records: list[AuditRecord]) -> list[AuditRecord]:
    """As many records, with those of another matter in the places of the readings."""
    return [one if one.purpose != "TREAT" else replace(one, token=b"", request=b"") for one in records]


def test_a_clinic_that_wrote_its_log_anew_after_it_was_posted_is_shown_by_the_file() -> None:
    """What it shows is sound under its newest head, and is not what it posted."""
    one = two_readings(without_readings)
    _, log = shown(one, one.file.sections)
    assert log.flaw is LogFlaw.CHANGED


def test_a_flaw_stays_when_the_rest_of_the_list_is_sound() -> None:
    """Two records, told of in two sections: the first is spoiled, the second is as the clinic gave it."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        tokens = [(await add(issuer, await receive_code(someone, issuer), LETTER)).token for _ in "ab"]
        await trio.sleep(5)
        file = taken(someone, (await export(someone)).raw, issuer.clock.wall_ms())
        spoiled, sound = [section_of(await one_of(someone, token), ExportLog, 0) for token in tokens]
        at = places(file.sections, ExportLog)[0]
        assert section_of(file.sections, ExportLog, 0).member == spoiled.member == sound.member
        for first in (replace(spoiled, shown=None), spoiled):
            both = [encode(first), encode(sound)]
            found = file.signed_again([*file.sections[:at], *both, *file.sections[at + 1 :]])
            logs = verified(found, file.genesis, file.now_ms).logs
            [log] = [one for one in logs if one.member.id_key == spoiled.member]
            assert log.flaw is (LogFlaw.UNPROVEN if first.shown is None else None)

    play(story)


async def one_of(someone: Someone, token: str) -> list[bytes]:
    return sections((await export(someone, token)).raw)


def test_of_a_suspended_clinic_no_list_is_missed() -> None:
    """It may not serve, so there is nothing that it would have to tell."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, build=build_clinic)
            changing.cluster.start()
            await changing.settle(changing.validators, height=1)
            issuer, *_, gone = changing.validators
            someone = someone_new(changing.cluster, changing.network)
            await nursery.start(someone.run)
            await add(issuer, await receive_code(someone, issuer), LETTER)
            await changing.suspend(gone)
            await trio.sleep(30)
            file = taken(someone, (await export(someone)).raw, issuer.clock.wall_ms())
            result = verified(file.sections, file.genesis, file.now_ms)
            assert gone.name in [one.name for one in result.members]
            assert gone.name not in [log.member.name for log in result.logs]
            assert not any(log.missing for log in result.logs)
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)
