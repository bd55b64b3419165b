"""A lying member leaves sealed bytes out of the blocks that it serves: others give them in the end."""

import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace

from node.chain.blocks_door import BlocksDoor
from node.clinic import Clinic
from node.ports import Ports
from node.store import layout
from node.store.memory import MemoryStore
from protocol.blocks import Genesis
from protocol.keys import PublicKey
from protocol.limits import OWED_PAUSE_S_MAX
from protocol.messages.blocks import BlocksReply, SealedName
from protocol.messages.consensus import Submission
from protocol.transactions import (
    Erase,
    GrantId,
    Rotate,
    TokenId,
    next_key_hash,
    sealed_hash,
    sign_transaction,
)
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, Seat, SimNode
from tests.sim.patients import Patient, grant, mint, revoke, token_of
from tests.sim.record_world import RECORD, add, build_clinic, clinic, get, receive_code, share, whole
from tests.sim.record_world import play as play_records
from tests.sim.seeds import fresh_seeds
from tests.sim.test_catchup import play, services

LIAR = 0
FULL_S = 120.0
OWED = 5  # two records with their keys, the two grants of one, and the one that the other kept


class StrippingDoor(BlocksDoor):
    """Gives every block without its sealed bytes, and has none when asked for them."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, last)
        blocks = tuple(replace(block, sealed=(b"",) * len(block.sealed)) for block in reply.blocks)
        return replace(reply, blocks=blocks)

    def _sealed(self, name: SealedName) -> bytes:
        return b""


class FalseDoor(StrippingDoor):
    """Gives other bytes than those asked for."""

    def _sealed(self, name: SealedName) -> bytes:
        return b"other bytes"


class NotingDoor(BlocksDoor):
    """An honest one, which notes what it was asked for."""

    asked: ClassVar[list[TokenId]] = []

    def _sealed(self, name: SealedName) -> bytes:
        self.asked.append(name.token)
        return super()._sealed(name)


class Bounded(SimNetwork):
    """A network without gossip, in which a node can be left with one other."""

    def gossip(self, origin: object, topic: str, payload: bytes) -> None:
        return

    def leave(self, cluster: Cluster, pairs: dict[SimNode, SimNode | None]) -> None:
        """Each of these nodes reaches the one named beside it, and no other."""
        cuts: list[tuple[PublicKey, PublicKey]] = []
        for node, only in pairs.items():
            for other in cluster.nodes:
                if other not in (node, only) and pairs.get(other) is not node:
                    cuts += [(node.identity, other.identity), (other.identity, node.identity)]
        self.set_cuts(cuts)


class Records:
    """Records that come and go while some clinics are away."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster, self._dice = cluster, random.Random(seed)
        self.alive: list[TokenId] = []
        self._live: list[tuple[Patient, Submission, GrantId]] = []

    async def _submit(self, *items: Submission) -> None:
        submissions = services(self._cluster.nodes[1]).submissions
        for item in items:
            name = await submissions.submit(
                item.transaction, item.sealed, sender=self._cluster.nodes[1].identity
            )
            await submissions.wait_final(name)

    async def grow(self) -> None:
        """Of three records one lives with two of its grants, one is rotated, and one is erased."""
        network, issuer = self._cluster.network_id, self._cluster.nodes[1].seat.id_key
        for fate in ("erased", "rotated", "live"):
            patient = Patient.of(self._dice)
            minted = mint(patient, issuer, network, self._dice)
            ids = [GrantId(self._dice.randbytes(32)) for _ in range(3)]
            await self._submit(minted, *(grant(patient, minted, one, network, self._dice) for one in ids))
            await self._submit(revoke(patient, minted, ids[0], network))
            if fate == "live":
                self._live.append((patient, minted, ids[1]))
            else:
                await self._submit(self._ending(patient, minted, ids[1], fate))
            if fate != "erased":
                self.alive.append(token_of(minted))

    async def revoke(self) -> None:
        """Ends one grant of the record that lives with two."""
        [(patient, minted, ended)] = self._live
        await self._submit(revoke(patient, minted, ended, self._cluster.network_id))

    async def erase(self) -> None:
        """Erases the record that lived with two grants."""
        [(patient, minted, ended)] = self._live
        await self._submit(self._ending(patient, minted, ended, "erased"))

    def _ending(self, patient: Patient, minted: Submission, kept: GrantId, fate: str) -> Submission:
        network, token, fresh = self._cluster.network_id, token_of(minted), Patient.of(self._dice)
        sealed = self._dice.randbytes(80)
        if fate == "erased":
            signers = (patient.owner, patient.next_key)
            return Submission(
                sign_transaction(Erase(token, 0, patient.next_key.public), signers, network), b""
            )
        body = Rotate(
            token,
            0,
            patient.next_key.public,
            fresh.owner.public,
            next_key_hash(fresh.next_key.public),
            fresh.opening.public,
            sealed_hash(sealed),
            (kept,),
        )
        return Submission(sign_transaction(body, (patient.next_key, fresh.owner), network), sealed)


def sealed_at(node: SimNode) -> dict[bytes, bytes]:
    """All sealed bytes on a node's disk."""
    return dict(MemoryStore.iterate(node.disk.ledger, layout.SEALED))


def holds_all(cluster: Cluster, node: SimNode) -> bool:
    """Whether a node has the head and the sealed bytes that an honest one has, and is owed nothing."""
    honest = cluster.nodes[1]
    return (
        node.life is not None
        and node.life.service is not None
        and services(node).ledger.height >= services(honest).ledger.height - 1
        and services(node).ledger.owed.count == 0
        and sealed_at(node) == sealed_at(honest)
    )


async def wait_until(condition: Callable[[], bool], within_s: float = FULL_S) -> None:
    with trio.fail_after(within_s):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.25)


Scene = Callable[[Cluster, Bounded, Records], Awaitable[None]]


def play_owed(
    scene: Scene,
    *,
    door: type[BlocksDoor] = StrippingDoor,
    others: type[BlocksDoor] = NotingDoor,
    seed: int = 1,
) -> None:
    """`scene` with seven clinics, the first of which serves through `door`; the last two were cut off while
    records came and went."""

    async def story(cluster: Cluster) -> None:
        network = cluster.network
        assert isinstance(network, Bounded)
        records = Records(cluster, seed)
        away = dict.fromkeys(cluster.nodes[5:])
        network.leave(cluster, dict(away))
        await records.grow()
        await scene(cluster, network, records)

    doors = dict.fromkeys(range(1, 7), others) | {LIAR: door}
    NotingDoor.asked.clear()
    play(story, size=7, doors=doors, network_type=Bounded, seed=seed)


async def left_with_the_liar(cluster: Cluster, network: Bounded) -> tuple[SimNode, SimNode]:
    """A newcomer that has all blocks from the liar alone, and a second that has them from the newcomer."""
    liar, (newcomer, second) = cluster.nodes[LIAR], cluster.nodes[5:]
    goal = services(cluster.nodes[1]).ledger.height
    network.leave(cluster, {newcomer: liar, second: newcomer})
    for node in (newcomer, second):
        await wait_until(lambda node=node: services(node).ledger.height >= goal)  # type: ignore[misc]
        assert services(node).ledger.owed.count == OWED
        assert sealed_at(node) == {}
    return newcomer, second


@pytest.mark.parametrize("door", [StrippingDoor, FalseDoor])
@pytest.mark.parametrize("seed", fresh_seeds(2))
def test_what_a_liar_left_out_comes_from_others_in_the_end(door: type[BlocksDoor], seed: int) -> None:
    async def scene(cluster: Cluster, network: Bounded, records: Records) -> None:
        newcomer, second = await left_with_the_liar(cluster, network)
        network.heal()
        await wait_until(lambda: holds_all(cluster, newcomer) and holds_all(cluster, second))
        # What was revoked or erased is never asked for, and neither is a key of an earlier generation.
        assert set(NotingDoor.asked) <= set(records.alive)

    play_owed(scene, door=door, seed=seed)


class BareDoor(NotingDoor):
    """Gives one block at a time without its sealed bytes, and those when it is asked for them."""

    async def _range(self, height: int, last: int) -> BlocksReply:
        reply = await super()._range(height, height)
        return replace(
            reply, blocks=tuple(replace(one, sealed=(b"",) * len(one.sealed)) for one in reply.blocks)
        )


def test_nothing_is_asked_for_before_it_is_known_what_ended_since() -> None:
    async def scene(cluster: Cluster, network: Bounded, records: Records) -> None:
        await trio.sleep(90)  # else the blocks that they missed would be fresh
        network.heal()
        newcomer, second = cluster.nodes[5:]
        await wait_until(lambda: holds_all(cluster, newcomer) and holds_all(cluster, second))
        assert set(NotingDoor.asked) == set(records.alive)

    play_owed(scene, door=BareDoor, others=BareDoor)


def test_what_ends_while_it_is_owed_is_owed_no_more() -> None:
    async def scene(cluster: Cluster, network: Bounded, records: Records) -> None:
        newcomer, second = await left_with_the_liar(cluster, network)
        await records.revoke()
        await wait_until(lambda: services(newcomer).ledger.owed.count == OWED - 1)
        await records.erase()
        for node in (newcomer, second):
            await wait_until(lambda node=node: services(node).ledger.owed.count == OWED - 3)  # type: ignore[misc]
        NotingDoor.asked.clear()
        network.heal()
        await wait_until(lambda: holds_all(cluster, newcomer) and holds_all(cluster, second))
        assert set(NotingDoor.asked) == {records.alive[0]}

    play_owed(scene)


def test_what_nobody_has_is_asked_for_ever_more_rarely_and_taken_once_somebody_has_it() -> None:
    async def scene(cluster: Cluster, network: Bounded, records: Records) -> None:
        newcomer, _ = await left_with_the_liar(cluster, network)
        kept = sealed_at(cluster.nodes[1])
        lost = next(iter(kept))
        for node in cluster.nodes[:5]:
            node.disk.ledger.write([], [lost])
        network.heal()
        await wait_until(lambda: services(newcomer).ledger.owed.count == 1)
        await trio.sleep(700)
        NotingDoor.asked.clear()
        await trio.sleep(2 * OWED_PAUSE_S_MAX)
        # Two nodes owe it, and every five minutes ask each other member but the liar, who notes nothing.
        assert 0 < len(NotingDoor.asked) <= 3 * 2 * 5
        assert services(newcomer).ledger.owed.count == 1
        cluster.nodes[4].disk.ledger.write([(lost, kept[lost])])
        await wait_until(lambda: services(newcomer).ledger.owed.count == 0, 2 * OWED_PAUSE_S_MAX)
        assert sealed_at(newcomer) == kept

    play_owed(scene)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("begin", ["with the liar", "with all"])
def test_a_power_cut_in_any_write_loses_nothing_that_is_owed(begin: str, after: bool) -> None:
    async def scene(write: int, cluster: Cluster, network: Bounded, records: Records) -> None:
        newcomer, second = cluster.nodes[5:]
        if begin == "with all":
            await left_with_the_liar(cluster, network)
        fell = trio.Event()
        newcomer.crash_in_write(write, after=after, then=fell.set)
        if begin == "with all":
            network.heal()
        else:
            network.leave(cluster, {newcomer: cluster.nodes[LIAR], second: None})
        with trio.move_on_after(30):
            await fell.wait()
        fallen.append(fell.is_set())
        newcomer.crash()
        await trio.sleep(1)
        newcomer.start()
        await trio.sleep(5)
        network.heal()
        await wait_until(lambda: holds_all(cluster, newcomer) and holds_all(cluster, second))

    fallen: list[bool] = []
    for write in range(1, 7):
        play_owed(partial(scene, write))
    assert all(fallen[:4])


def test_a_grant_whose_box_was_left_out_is_found_by_its_grantee_in_the_end() -> None:
    def build(ports: Ports, genesis: Genesis, seat: Seat) -> Clinic:
        made = build_clinic(ports, genesis, seat)
        if seat.index == LIAR:
            ledger, gated = made.services.ledger, made.services.ports.transport
            made.services.door = StrippingDoor(transport=gated, ledger=ledger, wall_ms=ports.clock.wall_ms)
        return made

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        assert isinstance(network, Bounded)
        issuer, reader = cluster.nodes[1], cluster.nodes[3]
        added = await add(issuer, await receive_code(someone, issuer), RECORD)
        await trio.sleep(5)
        network.leave(cluster, {reader: None})
        granted = await share(someone, added.token, reader)
        network.leave(cluster, {reader: cluster.nodes[LIAR]})
        token = TokenId(bytes.fromhex(added.token))
        name = GrantId(bytes.fromhex(granted))
        await wait_until(lambda: whole(reader).services.ledger.state.grant(token, name) is not None)
        await clinic(reader).inbox.wait_searched()
        assert clinic(reader).inbox.held_for(token) == []
        network.heal()
        await wait_until(lambda: clinic(reader).inbox.held_for(token) != [])
        assert (await get(reader, added.token))[1] == RECORD

    play_records(story, build=build, network_type=Bounded)
