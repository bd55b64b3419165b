"""Clinics that answer an owner's question about accesses with what no honest one would: each is named."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from msgspec.structs import replace

from node.records import audit_door
from protocol import limits
from protocol.audit import AuditRecord
from protocol.codec import decode, encode
from protocol.control import MyWho
from protocol.messages.audit import AuditQuestion, AuditReply, open_head, sign_head
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import clinic, get, play
from tests.sim.test_who import (
    OFTEN,
    entries,
    exchange_log,
    read_until,
    some_accesses,
    states,
    told_by,
    until_posted,
)

Change = Callable[[AuditReply, int], AuditReply]
"""What becomes of an honest reply, and of the how-manieth from 0 on."""


def lie(server: SimNode, change: Change) -> None:
    """The clinic answers with what `change` makes of each reply."""
    honest: Callable[[AuditQuestion], Awaitable[bytes]] = clinic(server).door._answer
    count = 0

    async def answer(question: AuditQuestion) -> bytes:
        nonlocal count
        reply = decode(AuditReply, await honest(question), limit=limits.AUDIT_REPLY_BYTES_MAX)
        count += 1
        return encode(change(reply, count - 1))

    clinic(server).door._answer = answer  # type: ignore[method-assign]


def later(reply: AuditReply, server: SimNode, network: bytes, by: int) -> AuditReply:
    """The same under a head that says it is of so many more records: the root does not tell."""
    said = open_head(reply.head, server.identity, network)
    head = sign_head(replace(said, sequence=said.sequence + by), server.seat.id_key, network)
    return replace(reply, head=head)


def named(change: Callable[[SimNode, bytes], Change], state: str) -> None:
    """A story in which one clinic with a posted head lies so, and is shown in this state."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        honest = await someone.my.who(MyWho())
        assert states(honest)[server.name] == "proven"
        lie(server, change(server, someone.chain.network))
        told = await someone.my.who(MyWho())
        assert states(told)[server.name] == state
        assert not any(one.is_posted for one in told_by(told, server))

    play(story, limits=OFTEN)


def test_one_that_says_there_is_nothing_is_shown_to_hide_it() -> None:
    named(lambda server, network: lambda reply, count: replace(reply, records=()), "changed")


def test_one_that_does_not_show_that_its_list_is_whole_is_named() -> None:
    named(lambda server, network: lambda reply, count: replace(reply, shown=None), "unproven")


def test_entries_out_of_order_are_no_answer() -> None:
    named(
        lambda server, network: lambda reply, count: replace(reply, records=reply.records[::-1]),
        "unreached",
    )


def test_an_entry_from_behind_the_end_of_the_log_is_no_answer() -> None:
    def more(reply: AuditReply, count: int) -> AuditReply:
        made_up = replace(reply.records[-1], sequence=9_999, user="somebody else")
        return replace(reply, records=(*reply.records, made_up))

    named(lambda server, network: more, "unreached")


def test_an_entry_about_another_record_is_no_answer() -> None:
    def change(server: SimNode, network: bytes) -> Change:
        def more(reply: AuditReply, count: int) -> AuditReply:
            last = reply.records[-1]
            other = replace(last, sequence=last.sequence + 1, token=bytes(32))
            return later(replace(reply, records=(*reply.records, other)), server, network, 10)

        return more

    named(change, "unreached")


@pytest.mark.parametrize("has_records", [True, False])
def test_a_list_without_an_end_is_no_answer(has_records: bool) -> None:
    def change(server: SimNode, network: bytes) -> Change:
        def endless(reply: AuditReply, count: int) -> AuditReply:
            if not has_records:
                return replace(reply, records=(), more=True)
            one = replace(entries(server)[-1], sequence=count + 1)
            return later(replace(reply, records=(one,), more=True), server, network, 1_000)

        return endless

    named(change, "unreached")


def test_a_page_that_comes_again_is_no_answer() -> None:
    pages: list[AuditReply] = []

    def again(reply: AuditReply, count: int) -> AuditReply:
        pages.append(replace(reply, more=count == 0))
        return replace(pages[0], more=count == 0)

    named(lambda server, network: again, "unreached")


def test_a_long_list_comes_in_pages_and_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, reader, token = await some_accesses(cluster, someone)
        for _ in range(3):
            await get(reader, token)
        await trio.sleep(1)
        at_once = await someone.my.who(MyWho())
        sizes = [len(encode(one)) for node in cluster.nodes for one in entries(node)]
        monkeypatch.setattr(audit_door, "RECORDS_BYTES_MAX", max(sizes) + 1)
        in_pages = await someone.my.who(MyWho())
        assert in_pages.accesses == at_once.accesses
        assert states(in_pages) == states(at_once)
        assert len(told_by(in_pages, server)) >= 2

    play(story)


async def seen_twice(cluster: Cluster, someone: Someone) -> tuple[SimNode, int, int]:
    """A clinic whose log was shown, grew, and was shown again: and how long it was posted, and at first."""
    server, reader, token = await some_accesses(cluster, someone)
    await until_posted(server, len(entries(server)))
    posted = len(entries(server))
    lengths: list[int] = []
    for _ in "ab":
        await read_until(server, reader, token, len(entries(server)) + 1)
        assert states(await someone.my.who(MyWho()))[server.name] == "proven"
        lengths.append(len(entries(server)))
    return server, posted, lengths[0]


def test_a_fork_behind_what_was_seen_at_first_is_shown_too() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, first = await seen_twice(cluster, someone)
        before = entries(server)
        other = [replace(before[0], token=b"", request=b"")] * (len(before) - first + 1)
        await exchange_log(server, [*before[:first], *other])
        assert states(await someone.my.who(MyWho()))[server.name] == "forked"

    play(story, limits=OFTEN)


def test_a_log_that_is_shorter_than_it_was_shown_is_cut_also_where_nothing_was_posted_of_it() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, posted, _ = await seen_twice(cluster, someone)
        await exchange_log(server, entries(server)[:posted])
        assert states(await someone.my.who(MyWho()))[server.name] == "cut"

    play(story, limits=OFTEN)


def test_two_logs_of_one_length_are_a_fork_also_where_they_differ_about_others_alone() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        server, _, _ = await some_accesses(cluster, someone)
        await until_posted(server, len(entries(server)))
        before = entries(server)
        of_others: AuditRecord = replace(before[0], token=b"", request=b"")
        await exchange_log(server, [*before, of_others])
        assert states(await someone.my.who(MyWho()))[server.name] == "proven"
        await exchange_log(server, [*before, replace(of_others, user="somebody else")])
        assert states(await someone.my.who(MyWho()))[server.name] == "forked"

    play(story, limits=OFTEN)
