"""Copies that stay: a holder that lost its own, one that is gone for good, one that lies, and erasure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import trio
from msgspec.structs import replace as with_fields

from node.ports import Stream
from node.records.copy_challenges import FAILURES_SHOWN, Shown
from node.records.vault_import import BlobEntry
from node.store import layout
from node.store.memory import MemoryStore
from protocol import limits
from protocol.audit import AuditEvent
from protocol.codec import decode, encode
from protocol.control import RecordShow
from protocol.messages.blob import CopyGo, CopyRequest, Refusal
from protocol.state import TokenState
from protocol.transactions import TokenId
from tests.sim.epoch_world import Changing
from tests.sim.light_world import Someone, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import (
    RECORD,
    add,
    build_clinic,
    clinic,
    erase,
    get,
    outside,
    play,
    receive_code,
    share,
    whole,
)
from tests.sim.test_epochs import play as play_epochs

MINUTE_S = 60.0


def token_of(node: SimNode, name: str) -> TokenState:
    found = whole(node).services.ledger.state.token(TokenId(bytes.fromhex(name)))
    assert found is not None
    return found


def holding(nodes: Sequence[SimNode], name: str) -> list[SimNode]:
    """The clinics, of those that run, with a whole copy."""
    running = [node for node in nodes if node.is_up]
    content = token_of(running[0], name)
    return [node for node in running if clinic(node).vault.holds(content.issuer, content.content.root)]


async def until(condition: Callable[[], bool], within_s: float = MINUTE_S) -> None:
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.5)


def test_a_holder_whose_ciphertext_is_lost_has_it_again_within_a_minute() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        lost = holding(cluster.nodes, added.token)[1:]
        assert len(lost) == 2
        for node in lost:
            node.crash()
            node.disk = replace(node.disk, blobs=MemoryStore())
        # The one copy left is served meanwhile.
        assert (await get(reader, added.token))[1] == RECORD
        for node in lost:
            node.start()
        await trio.sleep(1)
        await until(lambda: len(holding(cluster.nodes, added.token)) == 3)
        first.crash()
        lost[0].crash()
        await trio.sleep(1)
        lost[0].start()
        await trio.sleep(15)
        result, content, _ = await get(reader, added.token)
        assert content == RECORD
        assert result.source in {node.identity.hex() for node in lost}

    play(story)


def test_a_holder_that_was_down_when_a_record_came_brings_its_copy_when_it_is_back() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, away = cluster.nodes[0], cluster.nodes[3]
        code = await receive_code(someone, first, 5)
        away.crash()
        added = [await add(first, code, RECORD + bytes([number])) for number in range(5)]
        missed = [one for one in added if one.missing]
        assert missed, "none of these records was to be held by the clinic that is down"
        away.start()
        await trio.sleep(1)
        await until(lambda: all(away in holding(cluster.nodes, one.token) for one in missed))
        assert clinic(away).copies.missing == 0

    play(story)


@pytest.mark.parametrize("change", ["suspend", "remove"])
def test_the_copies_of_a_member_that_goes_are_made_again_elsewhere_within_a_minute(change: str) -> None:
    async def story(changing: Changing) -> None:
        first = changing.nodes[0]
        async with trio.open_nursery() as nursery:
            someone = someone_new(changing.cluster, changing.network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            added = await add(first, await receive_code(someone, first), RECORD)
            gone = holding(changing.nodes, added.token)[:2]
            assert first in gone, "the issuer's copy goes as well"
            for node in gone:
                await (changing.suspend if change == "suspend" else changing.remove)(node)
                node.crash()
            await until(lambda: len(holding(changing.nodes, added.token)) == 3)
            nursery.cancel_scope.cancel()

    play_epochs(story, founders=7, later=0, build=build_clinic)


def test_an_erased_record_goes_from_every_holder_also_one_that_was_away_and_each_attests_it() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first, 2)
        added, other = await add(first, code, RECORD), await add(first, code, RECORD + b"2")
        await trio.sleep(5)
        away = holding(cluster.nodes, added.token)[-1]
        holders = holding(cluster.nodes, added.token)
        away.crash()
        await erase(someone, added.token)
        await trio.sleep(5)
        assert holding(cluster.nodes, added.token) == []
        away.start()
        await trio.sleep(1)
        await until(lambda: holding(cluster.nodes, added.token) == [])
        await trio.sleep(1)
        for node in holders:
            chunks = [key for key, _ in node.disk.blobs.iterate(b"chunk/")]
            kept = token_of(node, other.token).content.chunks if node in holding([node], other.token) else 0
            assert len(chunks) == kept, "some of its ciphertext is still on a disk"
            assert clinic(node).audit.chain.has(AuditEvent.DELETION, TokenId(bytes.fromhex(added.token)))
        for node in holders:
            node.crash()
            node.start()
        await trio.sleep(30)
        for node in holders:
            records, _ = clinic(node).audit.chain.for_tokens(
                [TokenId(bytes.fromhex(added.token))], after=0, through=10**6, bytes_max=limits.MIB
            )
            assert [one.event for one in records].count(AuditEvent.DELETION) == 1

    play(story)


def test_a_holder_that_does_not_show_its_copy_is_named_and_cleared_once_it_does() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        liar = holding(cluster.nodes, added.token)[-1]
        token = token_of(liar, added.token)
        server, lies = clinic(liar).server, 0
        honest = server._give_copy

        async def show_another(stream: Stream, request: CopyRequest) -> None:
            """A path of the true tree with other bytes."""
            nonlocal lies
            lies += 1
            reader = await clinic(liar).vault.open(token.issuer, token.content.root)
            assert reader is not None
            frame = with_fields(reader.frame(request.first_chunk), ciphertext=bytes(100))
            await stream.send(encode(CopyGo()))
            await stream.send(encode(frame))

        server._give_copy = show_another
        name = TokenId(bytes.fromhex(added.token))
        shown = await clinic(first).challenges.look(name, token)
        assert [shown[node.identity] for node in (first, liar)] == [Shown.SHOWN, Shown.MISSING]
        await until(lambda: clinic(first).challenges.lacking() == {liar.identity: 1}, 10 * MINUTE_S)
        assert lies > FAILURES_SHOWN
        server._give_copy = honest
        await until(lambda: clinic(first).challenges.lacking() == {})
        seen = await clinic(first).records.show(RecordShow(id=added.token))
        assert [copy.state for copy in seen.copies] == ["shown"] * 3
        stranger = outside(cluster, added.token)
        seen = await clinic(stranger).records.show(RecordShow(id=added.token))
        assert [copy.state for copy in seen.copies] == ["unknown"] * 3
        liar.crash()
        await trio.sleep(1)
        shown = await clinic(first).challenges.look(name, token)
        assert shown[liar.identity] == Shown.UNREACHABLE

    play(story)


def test_a_copy_that_lost_a_chunk_is_found_out_and_made_whole_from_the_others() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        token, store = token_of(first, added.token), first.disk.blobs
        place = layout.blob(token.issuer, token.content.root)

        def blob_id() -> bytes:
            raw = store.get(place)
            return b"" if raw is None else decode(BlobEntry, raw, limit=limits.KIB).blob_id

        before = blob_id()
        store.write([], [layout.chunk(before, 0)])
        # A look is at one record and one of its seven chunks, both drawn: an hour has a hundred and twenty.
        await until(lambda: blob_id() not in (b"", before), 60 * MINUTE_S)
        await until(lambda: first in holding(cluster.nodes, added.token))
        reader = await clinic(first).vault.open(token.issuer, token.content.root)
        assert reader is not None
        assert all(reader.chunk(index) for index in range(token.content.chunks))

    play(story)


def test_a_clinic_whose_disk_is_nearly_full_goes_on_and_has_its_copy_once_there_is_room() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        full = holding(cluster.nodes, added.token)[-1]
        full.crash()
        full.disk = replace(full.disk, blobs=MemoryStore())
        full.disk.blobs.is_full = True
        full.start()
        await trio.sleep(5 * MINUTE_S)
        assert full.is_up
        assert clinic(full).copies.missing == 1
        full.disk.blobs.is_full = False
        await until(lambda: full in holding(cluster.nodes, added.token), 10 * MINUTE_S)

    play(story)


def test_a_lying_source_is_passed_over_and_the_copy_comes_from_another() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        lost = holding(cluster.nodes, added.token)[1]
        token, asked = token_of(first, added.token), 0

        async def send_one_twice(stream: Stream, request: CopyRequest) -> None:
            nonlocal asked
            asked += 1
            reader = await clinic(first).vault.open(token.issuer, token.content.root)
            assert reader is not None
            frames = reader.frames(request.first_chunk, request.chunk_count)
            await stream.send(encode(CopyGo()))
            for frame in [frames[0], *reversed(frames)]:
                await stream.send(frame)

        clinic(first).server._give_copy = send_one_twice  # the issuer is asked first
        lost.crash()
        lost.disk = replace(lost.disk, blobs=MemoryStore())
        lost.start()
        await trio.sleep(1)
        await until(lambda: lost in holding(cluster.nodes, added.token))
        assert asked > 0

    play(story)


def test_copies_go_to_clinics_that_placement_names_and_to_nobody_else() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        name, stranger = TokenId(bytes.fromhex(added.token)), outside(cluster, added.token)
        holder = holding(cluster.nodes, added.token)[1]

        async def first_answer(asker: SimNode, request: CopyRequest) -> bytes | None:
            assert asker.life is not None
            stream = await asker.life.transport.open_stream(first.identity, "blob")
            await stream.send(encode(request))
            answer = await stream.receive(limits.KIB)
            await stream.aclose()
            return answer

        chunks = token_of(first, added.token).content.chunks
        for asker, request, expected in (
            (holder, CopyRequest(name, 0, chunks), CopyGo()),
            (holder, CopyRequest(name, 1, chunks), Refusal()),
            (holder, CopyRequest(TokenId(bytes(32)), 0, 1), Refusal()),
            (stranger, CopyRequest(name, 0, 1), Refusal()),
        ):
            assert await first_answer(asker, request) == encode(expected), request
        stream = await someone.transport.open_stream(first.identity, "blob")
        await stream.send(encode(CopyRequest(name, 0, 1)))
        assert await stream.receive(limits.KIB) == encode(Refusal())

    play(story)


def test_ciphertext_whose_mint_never_came_goes_in_the_end_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "COPIES_CHECK_S", 20.0)  # a day would be long even here

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        holder = holding(cluster.nodes, added.token)[1]
        token = token_of(first, added.token)
        # As if another record had been pushed whose mint its issuer never sent.
        orphan = with_fields(token.content, root=bytes(32))
        arriving = await clinic(holder).vault.resume(first.identity, orphan)
        arriving.write([bytes(100)], bytes(32))
        await clinic(holder).vault.close(arriving)
        for _ in range(2 * limits.UNOWNED_LOOKS):
            clinic(holder).copies._look_again()  # many changes of the members in a row
            await trio.sleep(0.1)
        await trio.sleep((limits.UNOWNED_LOOKS - 3) * limits.COPIES_CHECK_S)
        assert (first.identity, bytes(32)) in clinic(holder).vault.names()
        await trio.sleep(4 * limits.COPIES_CHECK_S)
        assert clinic(holder).vault.names() == [(first.identity, token.content.root)]
        assert holder in holding(cluster.nodes, added.token)

    play(story)
