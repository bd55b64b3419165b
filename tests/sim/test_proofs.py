"""A patient's client asks for proofs of state, of clinics that lie, are behind, or keep them back."""

from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace

from node.chain.gateway import Gateway
from node.store import layout
from protocol.control import MyStop
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.messages.light import HeadersReply, ProofReply, ProofRequest, RouteReply
from protocol.proofs import Shown, Standing, verify_state
from protocol.transactions import GrantId
from tests.sim.light_world import LedgerClinic, Someone, issue, services
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.test_light import play, share, until


async def shared(cluster: Cluster, someone: Someone) -> GrantId:
    """A record that the first clinic issued, shared with the second."""
    token = await issue(someone, cluster.nodes[0], "Letter")
    [grant] = (await someone.my.share(share(token))).grants
    return GrantId(bytes.fromhex(grant.grant))


async def proof(someone: Someone, grant: GrantId) -> tuple[bytes, Shown]:
    [record] = someone.wallet.records()
    [proven] = await someone.patient.proofs.portable(record, [grant])
    return proven


def test_a_grant_is_proven_live_and_then_revoked_to_whoever_has_the_genesis_file() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        grant = await shared(cluster, someone)
        raw, shown = await proof(someone, grant)
        assert [one.standing for one in shown.proven] == [Standing.OWNED, Standing.LIVE]
        asked = [(one.claim.token, one.claim.grant) for one in shown.proven]
        now_ms = cluster.nodes[0].clock.wall_ms()
        assert verify_state(raw, cluster.genesis, asked, now_ms=now_ms + 10**9) == shown
        [stopped] = (await someone.my.stop(MyStop(id=grant.hex()))).stops
        assert stopped.final
        _, later = await proof(someone, grant)
        assert [one.standing for one in later.proven] == [Standing.OWNED, Standing.REVOKED]
        assert later.height > shown.height

    play(story)


class Crooked(Gateway):
    """The first clinic, once it is `crooked`: the issuer, who is asked first."""

    crooked: ClassVar[bool] = False
    asked: ClassVar[list[PublicKey]] = []

    def _proof(self, request: ProofRequest) -> ProofReply:
        self.asked.append(self._server)
        true = super()._proof(request)
        is_crooked = self.crooked and self._server == self._ledger.genesis.members[0].id_key
        return self._spoil(true) if is_crooked else true

    def _spoil(self, true: ProofReply) -> ProofReply:
        raise NotImplementedError


class Lying(Crooked):
    """Says that a grant which lives was revoked."""

    def _spoil(self, true: ProofReply) -> ProofReply:
        assert true.proof is not None
        standings = (*true.proof.standings[:-1], int(Standing.REVOKED))
        return ProofReply(replace(true.proof, standings=standings))


class Withholding(Crooked):
    """Has no proof to give."""

    def _spoil(self, true: ProofReply) -> ProofReply:
        return ProofReply(None)


class Stale(Crooked):
    """Goes on giving the first proof that it gave, which was true."""

    first: ClassVar[list[ProofReply]] = []

    def _spoil(self, true: ProofReply) -> ProofReply:
        self.first.append(true)
        return self.first[0]


@pytest.mark.parametrize("gateway", [Lying, Withholding, Stale])
def test_a_clinic_that_does_not_prove_what_is_so_now_is_passed_over(gateway: type[Crooked]) -> None:
    class Clinic(LedgerClinic):
        gateway_type = gateway

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        grant = await shared(cluster, someone)
        gateway.crooked = True
        await proof(someone, grant)  # the stale one keeps this
        await trio.sleep(120)
        gateway.asked.clear()
        _, shown = await proof(someone, grant)
        first = cluster.nodes[0].identity
        assert gateway.asked[0] == first
        assert len(gateway.asked) == 2
        assert gateway.asked[1] != first
        assert [one.standing for one in shown.proven] == [Standing.OWNED, Standing.LIVE]
        for node in cluster.nodes[1:]:
            node.crash()
        await trio.sleep(1)
        with pytest.raises(UserError) as nobody:
            await proof(someone, grant)
        assert nobody.value.code is Code.STALE

    gateway.crooked = False
    play(story, clinic=Clinic)


def test_what_is_so_of_a_grant_is_told_to_its_owner_alone() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        grant = await shared(cluster, someone)
        [record] = someone.wallet.records()
        someone.wallet.owner_key = lambda keyed: cluster.nodes[3].seat.id_key  # type: ignore[method-assign]
        with pytest.raises(UserError):
            await someone.patient.proofs.portable(record, [grant])

    play(story)


class Counting(Gateway):
    """Counts the headers that it gives."""

    headers: ClassVar[list[int]] = []
    routes: ClassVar[list[int]] = []

    async def _headers(self, height: int, wait_ms: int) -> HeadersReply:
        reply = await super()._headers(height, wait_ms)
        self.headers.append(len(reply.headers))
        return reply

    def _route(self, epoch: int) -> RouteReply:
        self.routes.append(epoch)
        return super()._route(epoch)


def test_a_client_that_was_away_asks_for_no_header_of_that_time() -> None:
    class Clinic(LedgerClinic):
        gateway_type = Counting

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        grant = await shared(cluster, someone)
        before = someone.chain.height
        own, clinics = someone.transport.identity, [node.identity for node in cluster.nodes]
        network.cut_off([own], clinics)
        await trio.sleep(3_600)
        Counting.headers.clear()
        Counting.routes.clear()
        network.set_cuts([])
        await until(lambda: someone.chain.is_fresh())
        passed = someone.chain.height - before
        assert passed > 200
        assert Counting.routes
        assert sum(Counting.headers) <= 4
        left_out = before + passed // 2
        assert someone.chain.header(left_out) is None
        assert someone.chain.head.header == services(cluster.nodes[1]).ledger.header(someone.chain.height)
        [stopped] = (await someone.my.stop(MyStop(id=grant.hex()))).stops
        assert stopped.final

    play(story, clinic=Clinic)


def test_a_grant_that_became_final_while_nobody_looked_is_found_by_its_proof() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        grant = await shared(cluster, someone)
        known = someone.wallet.grant(grant.hex())
        someone.wallet.put_grant(replace(known, height=0))
        for height in range(1, someone.chain.height):
            someone.store.write([], [layout.header(height)])
        [shown] = (await someone.my.records()).records[0].grants
        assert (shown.state, someone.wallet.grant(grant.hex()).height) == ("live", known.height)

    play(story)


def test_a_route_to_nowhere_is_not_taken() -> None:
    class Forged(Gateway):
        def _route(self, epoch: int) -> RouteReply:
            true = super()._route(epoch).route
            if true is None or self._server != self._ledger.genesis.members[0].id_key:
                return RouteReply(true)
            header = replace(true.header, height=true.header.height + 1_000)
            return RouteReply(replace(true, header=header))

    class Clinic(LedgerClinic):
        gateway_type = Forged

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        own, clinics = someone.transport.identity, [node.identity for node in cluster.nodes]
        network.cut_off([own], clinics)
        await trio.sleep(300)
        network.set_cuts([])
        await until(lambda: someone.clinics.reachable() != [])
        someone.clinics.prefer(clinics[0])
        with trio.fail_after(60):
            await until(someone.chain.is_fresh)
        assert someone.chain.height <= services(cluster.nodes[1]).ledger.height

    play(story, clinic=Clinic)
