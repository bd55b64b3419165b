"""What a patient learns of clinics whose audit log is not what it was: each is named, and how it lies."""

from collections.abc import Sequence
from dataclasses import replace as with_fields

import pytest
import trio
from msgspec.structs import replace

from node.records.audit_chain import AuditChain
from node.store.memory import MemoryStore
from protocol.audit import NO_RECORD, AuditRecord, record_hash
from protocol.control import AccessItem, MyWho, MyWhoResult
from protocol.errors import Refused
from protocol.limits import MINUTE_MS, NetworkLimits
from protocol.transactions import TokenId
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, clinic, get, outside, play, receive_code, share, whole

OFTEN = NetworkLimits(audit_head_interval_ms=10 * MINUTE_MS)
POSTED_S = 900.0


async def some_accesses(cluster: Cluster, someone: Someone) -> tuple[SimNode, SimNode, str]:
    """A record asked for in vain, and read, by one clinic from another: server, reader and token."""
    first = cluster.nodes[0]
    added = await add(first, await receive_code(someone, first), RECORD)
    await trio.sleep(5)
    reader = outside(cluster, added.token)
    with pytest.raises(Refused):
        await get(reader, added.token)
    await share(someone, added.token, reader)
    await get(reader, added.token)
    result, _, _ = await get(reader, added.token)
    await trio.sleep(1)
    server = next(node for node in cluster.nodes if node.identity.hex() == result.source)
    return server, reader, added.token


async def until_posted(server: SimNode, sequence: int) -> None:
    """Returns when the ledger has a head of `server` over at least `sequence` records."""
    with trio.fail_after(POSTED_S):
        while True:
            member = whole(server).services.ledger.state.member(server.identity)
            assert member is not None
            if member.audit_sequence >= sequence:
                return
            await trio.sleep(1)


def told_by(told: MyWhoResult, server: SimNode) -> list[AccessItem]:
    return [one for one in told.accesses if one.server == server.identity.hex()]


def states(told: MyWhoResult) -> dict[str, str]:
    return {log.name: log.state for log in told.logs}


def entries(server: SimNode) -> list[AuditRecord]:
    chain = AuditChain(server.disk.audit)
    found = map(chain.get, range(1, chain.load().sequence + 1))
    return [one for one in found if one is not None]


async def read_until(server: SimNode, reader: SimNode, token: str, length: int) -> None:
    """Reads the record, until that made the log of `server` so many entries long."""
    while len(entries(server)) < length:
        await get(reader, token)
        await trio.sleep(1)


def write_log(records: Sequence[AuditRecord]) -> MemoryStore:
    """A log that is sound in itself: numbered and chained anew."""
    store, chained, previous = MemoryStore(), list[AuditRecord](), NO_RECORD
    for sequence, record in enumerate(records, 1):
        chained.append(replace(record, sequence=sequence, previous=previous))
        previous = record_hash(chained[-1])
    AuditChain(store).append(chained)
    return store


async def exchange_log(server: SimNode, records: Sequence[AuditRecord]) -> None:
    """The clinic is stopped, its log written anew, and started again."""
    server.crash()
    await trio.sleep(1)
    server.disk = with_fields(server.disk, audit=write_log(records))
    server.start()
    await trio.sleep(20)


def test_honest_clinics_prove_that_they_list_all_and_what_is_posted() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, token = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        # A restart leaves nothing in memory of what was posted.
        server.crash()
        await trio.sleep(1)
        server.start()
        await trio.sleep(20)
        told = await someone.my.who(MyWho())
        assert (told.flawed, told.unreached) == (0, ())
        assert set(states(told).values()) <= {"proven", "not-posted"}
        assert states(told)[server.name] == "proven"
        assert {(one.outcome, one.is_proven, one.is_posted) for one in told_by(told, server)} >= {
            ("served", True, True)
        }
        # What comes after the head is told too, as not posted yet, and the same again is no fork.
        await get(reader, token)
        later = await someone.my.who(MyWho())
        assert later.flawed == 0
        assert {one.is_posted for one in told_by(later, server)} <= {True, False}
        assert (await someone.my.who(MyWho())).accesses == later.accesses

    play(story, limits=OFTEN)


@pytest.mark.parametrize("is_posted", [True, False])
def test_a_clinic_that_leaves_an_entry_out_of_its_list_is_shown(is_posted: bool) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, token = await some_accesses(cluster, someone)
        posted = len(entries(server))
        await until_posted(server, posted)
        await read_until(server, reader, token, posted + 2)

        class Hiding(AuditChain):
            def for_tokens(
                self, tokens: Sequence[TokenId], *, after: int, through: int, bytes_max: int
            ) -> tuple[list[AuditRecord], bool]:
                found, more = super().for_tokens(tokens, after=after, through=through, bytes_max=bytes_max)
                shown = [one for one in found if (one.sequence <= posted) != is_posted]
                return shown, more

        clinic(server).audit.chain = Hiding(server.disk.audit)
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "changed"
        assert (told.flawed, told.unreached) == (1, ())
        assert not any(one.is_posted for one in told_by(told, server))

    play(story, limits=OFTEN)


def test_a_clinic_that_writes_its_log_anew_without_an_entry_is_shown() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        before = entries(server)
        kept = [one for one in before if one.event != "intent"]
        # Others' entries fill the gap, so that the log is as long as it was posted.
        filling = [replace(before[0], token=b"", request=b"")] * (len(before) - len(kept))
        await exchange_log(server, [*kept, *filling])
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "changed"
        assert told.flawed == 1

    play(story, limits=OFTEN)


def test_a_clinic_that_rewrites_who_read_is_shown_and_the_readers_signature_contradicts_it() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        before = entries(server)
        await exchange_log(server, [replace(one, user="somebody else") for one in before])
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "changed"
        assert told_by(told, server)
        assert not any(one.is_proven for one in told_by(told, server))

    play(story, limits=OFTEN)


def test_a_clinic_that_cuts_its_log_below_what_it_posted_is_shown() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        await exchange_log(server, entries(server)[:1])
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "cut"

    play(story, limits=OFTEN)


def test_a_clinic_that_forks_what_it_has_not_posted_yet_is_shown_to_who_saw_it() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, token = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        posted = len(entries(server))
        # Newer entries wait up to an hour for the next head: here they are shown, and then another history.
        await read_until(server, reader, token, posted + 1)
        assert states(await someone.my.who(MyWho()))[server.name] == "proven"
        before = entries(server)
        other = [replace(before[0], token=b"", request=b"")] * (len(before) - posted + 1)
        await exchange_log(server, [*before[:posted], *other])
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "forked"
        # It stays so when the fork is what was posted.
        await until_posted(server, posted + 1)
        assert states(await someone.my.who(MyWho()))[server.name] == "forked"

    play(story, limits=OFTEN)


def test_a_clinic_that_does_not_show_its_posted_head_or_does_not_answer_is_named() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))

        async def nothing(sequence: int, *, is_posted: bool) -> None:
            await trio.lowlevel.checkpoint()

        clinic(server).audit.map_at = nothing  # type: ignore[method-assign]
        reader.crash()
        await trio.sleep(5)
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == "unproven"
        assert states(told)[reader.name] == "unreached"
        assert told.unreached == (reader.identity.hex(),)

    play(story, limits=OFTEN)
