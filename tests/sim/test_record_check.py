"""`record verify`: whether a clinic tells a whole copy from a damaged one, and who shows what it should."""

import pytest
import trio
from msgspec.structs import replace

from node.store import layout
from protocol.at_rest import AtRest
from protocol.control import RecordVerify, RecordVerifyResult
from protocol.errors import Refused
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import (
    RECORD,
    Screen,
    add,
    at_rest_key,
    clinic,
    outside,
    play,
    receive_code,
    whole,
)
from tests.sim.test_erasing import WORDS, erase
from tests.sim.test_held_copies import holding


async def verify(node: SimNode, token: str) -> RecordVerifyResult:
    return await clinic(node).check.verify(RecordVerify(id=token), Screen())


async def added(cluster: Cluster, someone: Someone) -> str:
    first = cluster.nodes[0]
    token = (await add(first, await receive_code(someone, first), RECORD)).token
    await trio.sleep(5)
    return token


def states(result: RecordVerifyResult) -> dict[str, tuple[str, int, int]]:
    return {one.name: (one.state, one.looked_at, one.bad) for one in result.copies}


def chunks_of(node: SimNode) -> list[tuple[bytes, bytes]]:
    return list(node.disk.blobs.iterate(b"chunk/"))


def test_a_whole_copy_is_read_and_the_others_show_theirs() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        here, *others = holding(cluster.nodes, token)
        result = await verify(here, token[:10])
        chunks = result.chunks
        assert (result.token, result.is_proven, result.erased) == (token, True, False)
        assert chunks == len(chunks_of(here)) > 1
        wanted = {here.name: ("whole", chunks, 0)}
        assert states(result) == wanted | {one.name: ("shown", min(8, chunks), 0) for one in others}
        # One that holds none may not ask the others.
        stranger = await verify(outside(cluster, token), token)
        assert stranger.is_proven
        assert {one.state for one in stranger.copies} == {"unknown"}

    play(story)


def test_each_chunk_that_is_another_or_gone_is_counted() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        here = holding(cluster.nodes, token)[0]
        (first, spoiled), (second, _), *_ = chunks_of(here)
        here.disk.blobs.write([(first, bytes(len(spoiled)))], [second])
        result = await verify(here, token)
        assert states(result)[here.name] == ("damaged", result.chunks, 2)

    play(story)


def test_a_holder_that_lost_its_copy_or_is_away_is_named() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        here, loser, away = holding(cluster.nodes, token)
        loser.disk.blobs.write([], [key for key, _ in chunks_of(loser)])
        away.crash()
        await trio.sleep(1)
        found = states(await verify(here, token))
        assert found[loser.name] == ("missing", 0, 0)
        assert found[away.name] == ("unreachable", 0, 0)

    play(story)


def test_a_holder_that_lost_some_of_its_copy_is_not_excused_by_the_rest() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        here, loser, _ = holding(cluster.nodes, token)
        loser.disk.blobs.write([], [key for key, _ in chunks_of(loser)[::2]])
        for _ in range(6):
            assert states(await verify(here, token))[loser.name][0] == "missing"

    play(story)


def test_an_entry_that_is_not_under_the_root_of_the_newest_header_is_not_proven() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        here = holding(cluster.nodes, token)[0]
        ledger = whole(here).services.ledger
        kept = ledger.head
        ledger.head = replace(kept, header=replace(kept.header, state_root=bytes(32)))
        result = await verify(here, token)
        ledger.head = kept
        assert not result.is_proven

    play(story)


def test_of_an_erased_record_no_copy_is_looked_for_and_an_unknown_one_is_refused() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        await erase(someone, token, WORDS)
        await trio.sleep(5)
        result = await verify(cluster.nodes[0], token)
        assert (result.is_proven, result.erased, result.copies) == (True, True, ())
        with pytest.raises(Refused):
            await verify(cluster.nodes[0], "00" * 32)

    play(story)


def test_a_clinic_keeps_ciphertext_under_the_key_that_it_has_for_that() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await added(cluster, someone)
        opened: set[tuple[bytes, ...]] = set()
        for node in holding(cluster.nodes, token):
            at_rest = AtRest(at_rest_key(node.identity))
            kept = {key[len(layout.CHUNK) :]: value for key, value in chunks_of(node)}
            opened.add(
                tuple(
                    at_rest.blob(name[:-4]).open(int.from_bytes(name[-4:], "big"), kept[name])
                    for name in sorted(kept)
                )
            )
        # All hold the same, and no two keep it in the same bytes.
        assert len(opened) == 1
        assert len({value for node in cluster.nodes for _, value in chunks_of(node)}) == 3 * len(*opened)

    play(story)
