"""The patient's light client against honest, dead and lying clinics."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace

from node.chain.gateway import Gateway
from protocol.control import MyCode, MyShare, MyStop
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.limits import DAY_MS
from protocol.messages.light import HeadersReply, Located, RouteReply
from protocol.transactions import GrantId, TokenId, TransactionId
from tests.sim.light_world import LedgerClinic, Someone, issue, services, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.world import World, simulate

Story = Callable[[Cluster, Someone, SimNetwork], Awaitable[None]]


def play(story: Story, *, clinic: type[LedgerClinic] = LedgerClinic, seed: int = 1) -> None:
    """`story` with four clinics and one patient, all up and fresh."""

    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            network = SimNetwork(world)
            cluster = Cluster(world, network, nursery, clinic, size=4)
            cluster.start()
            someone = someone_new(cluster, network)
            await nursery.start(someone.run)
            await trio.sleep(3)
            await story(cluster, someone, network)
            cluster.stop()
            nursery.cancel_scope.cancel()

    simulate(tell, seed)


def share(token: TransactionId, clinic: str = "n1") -> MyShare:
    return MyShare(records=(token.hex()[:8],), clinic=clinic, for_ms=30 * DAY_MS, purposes=("TREAT",))


def test_a_patient_receives_shares_and_stops() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        [record] = (await someone.my.records()).records
        assert (record.token, record.title, record.issuer_name) == (token.hex(), "Letter", "n0")
        [grant] = (await someone.my.share(share(token))).grants
        assert (grant.state, grant.grantee_name, grant.final) == ("live", "n1", True)
        assert len((await someone.my.records()).records[0].grants) == 1
        [stopped] = (await someone.my.stop(MyStop(id=grant.grant[:8]))).stops
        assert stopped.final
        assert sorted(stopped.stopped_at) == sorted(node.identity.hex() for node in cluster.nodes)
        assert stopped.unreached == ()
        for node in cluster.nodes:
            ended = TokenId(token), GrantId(bytes.fromhex(grant.grant))
            assert ended in services(node).ledger.denied
        assert [item.state for item in (await someone.my.shares()).grants] == ["ended"]

    play(story)


def test_a_clinic_that_is_down_is_named_and_bounded() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        [grant] = (await someone.my.share(share(token))).grants
        cluster.nodes[2].crash()
        await trio.sleep(1)
        [stopped] = (await someone.my.stop(MyStop(id=grant.grant))).stops
        assert stopped.final
        assert stopped.unreached == (cluster.nodes[2].identity.hex(),)
        assert stopped.unreached_names == (cluster.nodes[2].name,)
        assert stopped.bound_s == 90
        assert stopped.ends_by is not None
        now_ms = cluster.nodes[0].clock.wall_ms()
        assert abs(datetime.fromisoformat(stopped.ends_by).timestamp() - now_ms / 1000 - 90) < 1

    play(story)


def test_a_stop_that_is_not_final_has_no_end_that_could_be_named() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        [grant] = (await someone.my.share(share(token))).grants
        cluster.nodes[2].crash()
        cluster.nodes[3].crash()
        [stopped] = (await someone.my.stop(MyStop(id=grant.grant))).stops
        assert (stopped.final, stopped.ends_by) == (False, None)
        assert sorted(stopped.unreached_names) == sorted(node.name for node in cluster.nodes[2:])

    play(story)


def test_the_clinic_asked_first_may_die() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        for node in cluster.nodes:
            if node.identity == someone.clinics.reachable()[0]:
                node.crash()
        await someone.my.share(share(token))

    play(story)


def test_without_a_quorum_the_patient_is_told_that_nothing_is_fresh() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.records()
        for node in cluster.nodes[:2]:
            node.crash()
        await trio.sleep(90)
        with pytest.raises(UserError) as stale:
            await someone.my.share(share(token))
        assert stale.value.code is Code.STALE

    play(story)


def test_unknown_records_and_clinics_get_their_errors() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        with pytest.raises(UserError) as absent:
            await someone.my.share(share(TransactionId(bytes(32))))
        assert absent.value.code is Code.REFUSED
        with pytest.raises(UserError) as unknown:
            await someone.my.share(share(token, "nobody"))
        assert "n0, n1, n2, n3" in unknown.value.hint
        with pytest.raises(UserError) as purpose:
            await someone.my.share(replace(share(token), purposes=("NOSUCH",)))
        assert purpose.value.code is Code.PURPOSE
        with pytest.raises(UserError) as duration:
            await someone.my.share(replace(share(token), for_ms=401 * DAY_MS))
        assert duration.value.code is Code.DURATION

    play(story)


def test_a_clinic_meant_by_an_id_that_several_begin_with_is_asked_for_again() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        with pytest.raises(UserError) as ambiguous:
            await someone.my.code(MyCode(clinic="01"))
        assert ambiguous.value.code is Code.AMBIGUOUS_ID
        for node in cluster.nodes:
            assert f"{node.name} ({node.identity.hex()[:12]})" in str(ambiguous.value)
        [node, *_] = cluster.nodes
        code = await someone.my.code(MyCode(clinic=node.identity.hex()[:12].upper()))
        assert code.clinic_name == node.name

    play(story)


def test_one_time_keys_are_used_once_also_after_a_power_loss() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        clinic = cluster.nodes[0].identity
        before = someone.wallet.enrol(clinic, 3, 10**13, someone.chain.network)
        again = someone_new(cluster, network, store=someone.store.crash(0))
        after = again.wallet.enrol(clinic, 3, 10**13, again.chain.network)
        assert not {item.body for item in before} & {item.body for item in after}
        with pytest.raises(UserError) as used_up:
            again.wallet.enrol(clinic, 3, 10**13, again.chain.network)
        assert used_up.value.code is Code.LIMIT
        assert again.chain.height == someone.chain.height

    play(story)


class ForgedHeaders(Gateway):
    """Shows a header that no quorum signed."""

    asked: ClassVar[list[PublicKey]] = []

    async def _headers(self, height: int, wait_ms: int) -> HeadersReply:
        reply = await super()._headers(height, wait_ms)
        if self._server != self._ledger.genesis.members[0].id_key or not reply.headers:
            return reply
        self.asked.append(self._server)
        forged = replace(reply.headers[-1], time_ms=reply.headers[-1].time_ms + 1)
        return replace(reply, headers=(*reply.headers[:-1], forged))


class ForgedPlaces(Gateway):
    """Says of every transaction that it is in another place of its block."""

    asked: ClassVar[list[TransactionId]] = []

    async def _located(self, names: Sequence[TransactionId]) -> tuple[Located | None, ...]:
        located = await super()._located(names)
        if self._server != self._ledger.genesis.members[0].id_key:
            return located
        self.asked.extend(names)
        return tuple(one and replace(one, path=(bytes(32), *one.path)) for one in located)


@pytest.mark.parametrize("liar", [ForgedHeaders, ForgedPlaces])
def test_a_lying_clinic_is_not_believed_and_another_is_asked(liar: type[Gateway]) -> None:
    class Clinic(LedgerClinic):
        gateway_type = liar

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        someone.clinics.prefer(cluster.nodes[0].identity)
        token = await issue(someone, cluster.nodes[1], "Letter")
        someone.clinics.prefer(cluster.nodes[0].identity)
        await someone.my.share(share(token, "n2"))
        assert someone.chain.height >= 2
        for height in range(1, someone.chain.height + 1):
            assert someone.chain.header(height) == services(cluster.nodes[1]).ledger.header(height)

    play(story, clinic=Clinic)
    assert liar.asked  # type: ignore[attr-defined]


class Dripping(Gateway):
    """Shows one header at a time, each after a while, and no way to the newest."""

    asked: ClassVar[list[int]] = []

    def _route(self, epoch: int) -> RouteReply:
        liar = self._server == self._ledger.genesis.members[0].id_key
        return RouteReply(None) if liar else super()._route(epoch)

    async def _headers(self, height: int, wait_ms: int) -> HeadersReply:
        reply = await super()._headers(height, wait_ms)
        own = self._ledger.finality(height)
        if self._server != self._ledger.genesis.members[0].id_key or own is None:
            return reply
        self.asked.append(height)
        await trio.sleep(8)
        return replace(reply, headers=reply.headers[:1], finality=own)


def test_a_clinic_that_drips_what_is_old_does_not_hold_its_client_back() -> None:
    class Clinic(LedgerClinic):
        gateway_type = Dripping

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        own, clinics = someone.transport.identity, [node.identity for node in cluster.nodes]
        network.cut_off([own], clinics)
        await trio.sleep(300)
        assert not someone.chain.is_fresh()
        network.set_cuts([])
        await until(lambda: someone.clinics.reachable() != [])
        someone.clinics.prefer(clinics[0])
        with trio.fail_after(30):
            await until(someone.chain.is_fresh)
        assert Dripping.asked

    play(story, clinic=Clinic)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.5)
