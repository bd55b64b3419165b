"""What clinics learn of a patient's keys, and what they can make her believe of them."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace

from node.chain.gateway import Gateway
from node.light.lookups import Lookups, Question
from protocol.keys import PublicKey, SigningKey
from protocol.messages.light import Owned, OwnedReply, OwnedRequest
from protocol.ownership import Ownership
from protocol.state import LedgerState
from tests.sim.light_world import LedgerClinic, Someone, issue, services
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.test_light import play


class Noting(Gateway):
    """Remembers about which keys each clinic was asked."""

    asked: ClassVar[dict[PublicKey, set[PublicKey]]] = {}

    async def _owned(self, request: OwnedRequest) -> OwnedReply:
        self.asked.setdefault(self._server, set()).update(request.keys)
        return await super()._owned(request)


class NotingClinic(LedgerClinic):
    gateway_type = Noting


def lookups_of(someone: Someone) -> Lookups:
    return Lookups(chain=someone.chain, clinics=someone.clinics)


def test_no_clinic_is_asked_about_all_keys_and_a_dead_ones_share_goes_to_others() -> None:
    keys = [SigningKey(bytes((number,)) * 32) for number in range(200)]
    wanted = {key.public for key in keys}

    async def ask(someone: Someone, share: float) -> None:
        Noting.asked.clear()
        found = await lookups_of(someone).find([Question(key, None) for key in keys])
        assert all(one is not None and one.given is None for one in found)
        assert set().union(*Noting.asked.values()) == wanted
        assert all(len(some) < share * len(keys) for some in Noting.asked.values())

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        await issue(someone, cluster.nodes[0], "Letter")
        await ask(someone, 0.4)
        cluster.nodes[2].crash()
        await trio.sleep(30)
        assert len(someone.clinics.reachable()) == 3
        await ask(someone, 0.5)

    play(story, clinic=NotingClinic)


def test_each_record_is_asked_about_at_its_issuer_alone() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        for at in (1, 2):
            await issue(someone, cluster.nodes[at], f"Letter {at}")
        Noting.asked.clear()
        records = (await someone.my.records()).records
        assert {record.issuer_name for record in records} == {"n1", "n2"}
        assert (await someone.my.records()).records == records
        issuers = {
            record.issuer: someone.wallet.owner_key(record).public for record in someone.wallet.records()
        }
        assert Noting.asked == {clinic: {key} for clinic, key in issuers.items()}

    play(story, clinic=NotingClinic)


class Withholding(Gateway):
    """The first clinic says of every key that it owns nothing."""

    asked: ClassVar[list[PublicKey]] = []

    def _owned_by(self, key: PublicKey, state: LedgerState) -> Owned:
        owned = super()._owned_by(key, state)
        if self._server != self._ledger.genesis.members[0].id_key:
            return owned
        self.asked.append(key)
        return Owned(Ownership(replace(owned.ownership.key, value=b""), None), b"")


class Outdated(Gateway):
    """The first clinic answers from the state that it had at first, with proofs that hold there."""

    asked: ClassVar[list[PublicKey]] = []
    kept: ClassVar[list[tuple[int, LedgerState]]] = []

    async def _owned(self, request: OwnedRequest) -> OwnedReply:
        reply = await super()._owned(request)
        if self._server != self._ledger.genesis.members[0].id_key:
            return reply
        self.asked.extend(request.keys)
        height, state = self.kept[0]
        return OwnedReply(height, tuple(self._owned_by(key, state) for key in request.keys))


class SealedElse(Gateway):
    """The first clinic gives another box than the one that the token names."""

    asked: ClassVar[list[PublicKey]] = []

    def _owned_by(self, key: PublicKey, state: LedgerState) -> Owned:
        owned = super()._owned_by(key, state)
        if self._server != self._ledger.genesis.members[0].id_key:
            return owned
        self.asked.append(key)
        return replace(owned, sealed_key=owned.sealed_key[:-1] + b"\0")


class Silent(Gateway):
    """The first clinic says nothing of any key."""

    asked: ClassVar[list[PublicKey]] = []

    async def _owned(self, request: OwnedRequest) -> OwnedReply:
        reply = await super()._owned(request)
        if self._server != self._ledger.genesis.members[0].id_key:
            return reply
        self.asked.extend(request.keys)
        return replace(reply, owned=tuple(None for _ in reply.owned))


LIARS: Sequence[type[Gateway]] = (Withholding, Outdated, SealedElse, Silent)


@pytest.mark.parametrize("liar", LIARS)
def test_an_issuer_that_lies_about_keys_is_not_believed_and_another_is_asked(liar: type[Gateway]) -> None:
    class Clinic(LedgerClinic):
        gateway_type = liar

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        if liar is Outdated:
            await trio.sleep(20)
            first = services(cluster.nodes[0]).ledger
            assert first.height > 0
            Outdated.kept[:] = [(first.height, first.state)]
            await trio.sleep(90)
        token = await issue(someone, cluster.nodes[0], "Letter")
        await trio.sleep(2)
        [record] = (await someone.my.records()).records
        assert record.token == token.hex()
        assert liar.asked  # type: ignore[attr-defined]

    play(story, clinic=Clinic)


def test_a_code_that_was_never_used_is_asked_about_until_its_last_day_only() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        soon_ms = someone.chain.head.header.time_ms + 60_000
        [offer] = someone.wallet.offer([cluster.nodes[0].identity], soon_ms)
        await someone.my.records()
        assert someone.wallet.offers() == [offer]
        await trio.sleep(90)
        await someone.my.records()
        assert someone.wallet.offers() == []

    play(story)
