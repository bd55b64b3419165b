"""A new device finds from the words what was shared, and can end it; what clinics say of it is checked."""

from collections.abc import Awaitable, Callable
from typing import ClassVar

import pytest
import trio
from msgspec.structs import replace

from node.chain.gateway import Gateway
from node.light.transact import Transactor
from protocol import limits
from protocol.codec import digest
from protocol.control import MyLostPhone, MyRecover, MyStop
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.messages.consensus import Submission
from protocol.messages.light import GrantsReply, GrantsRequest, OwnerCopy
from protocol.transactions import Grant, GrantId, TokenId, TransactionId, sealed_hash, sign_transaction
from tests.sim.light_world import LedgerClinic, Someone, issue, services
from tests.sim.nodes import Cluster
from tests.sim.test_own_keys import WORDS, live_everywhere, play_two, settle, shared

NewDevice = Callable[[], Awaitable[Someone]]


async def recovered(other: NewDevice) -> Someone:
    device = await other()
    await device.patient.own_keys.recover(MyRecover(words=WORDS))
    return device


async def states(someone: Someone) -> dict[str, str]:
    return {grant.grant: grant.state for grant in (await someone.my.shares()).grants}


def test_a_new_device_knows_to_whom_what_was_given_and_ends_it() -> None:
    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        one, two = [await issue(someone, cluster.nodes[at], f"Letter {at}") for at in (0, 1)]
        first, second = await shared(someone, one, "n3"), await shared(someone, two, "n2")
        ended = await shared(someone, two, "n3")
        await someone.my.stop(MyStop(id=ended.hex()))
        device = await other()
        result = await device.patient.own_keys.recover(MyRecover(words=WORDS))
        assert (result.records, result.grants, result.unreadable) == (2, 2, 0)
        before = {one.grant: one for one in (await someone.my.shares()).grants if one.state == "live"}
        assert {one.grant: one for one in (await device.my.shares()).grants} == before
        assert {one.grantee_name for one in before.values()} == {"n2", "n3"}
        [stopped] = (await device.my.stop(MyStop(id=first.hex()))).stops
        assert stopped.final
        await settle(cluster, device)
        assert live_everywhere(cluster, one, first) == {False}
        assert live_everywhere(cluster, two, second) == {True}
        # To look again brings nothing back that was ended here.
        again = await device.patient.own_keys.recover(MyRecover(words=WORDS))
        assert again.grants == 1
        assert await states(device) == {first.hex(): "ended", second.hex(): "live"}

    play_two(story)


def test_what_was_kept_through_a_loss_is_found_by_the_device_after_it() -> None:
    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        kept = await shared(someone, token, "n2")
        await shared(someone, token, "n3")
        device = await recovered(other)
        await device.patient.own_keys.lost_phone(MyLostPhone(words=WORDS, keep=(kept.hex(),)))
        third = await recovered(other)
        assert await states(third) == {kept.hex(): "live"}
        [stopped] = (await third.my.stop(MyStop(id=kept.hex()))).stops
        assert stopped.final

    play_two(story)


def test_all_pages_of_a_long_list_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        given = {(await shared(someone, token, f"n{at % 4}")).hex() for at in range(6)}
        monkeypatch.setattr(limits, "GRANTS_REPLY_MAX", 2)
        device = await recovered(other)
        assert set(await states(device)) == given

    play_two(story)


def test_what_a_thief_shared_without_a_copy_is_counted_and_ends_with_the_keys() -> None:
    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        token = TokenId(await issue(someone, cluster.nodes[0], "Letter"))
        await someone.my.records()
        [record] = someone.wallet.records()
        hidden, sealed = GrantId(digest("hidden", b"")), b"a box for somebody"
        body = Grant(token, hidden, sealed_hash(sealed))
        raw = sign_transaction(body, (someone.wallet.owner_key(record),), someone.chain.network)
        transactor = Transactor(chain=someone.chain, clinics=someone.clinics)
        await transactor.submit_everywhere(Submission(raw, sealed))
        with trio.fail_after(60):
            while live_everywhere(cluster, TransactionId(token), hidden) != {True}:
                await services(cluster.nodes[0]).ledger.wait_advanced()
                await trio.sleep(1)
        device = await other()
        result = await device.patient.own_keys.recover(MyRecover(words=WORDS))
        assert (result.grants, result.unreadable) == (1, 1)
        assert await states(device) == {}
        await device.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        await settle(cluster, device)
        assert live_everywhere(cluster, TransactionId(token), hidden) == {False}

    play_two(story)


class Liar(Gateway):
    """The first clinic, which issued the record, says something else."""

    asked: ClassVar[list[PublicKey]] = []

    async def _grants(self, request: GrantsRequest) -> GrantsReply:
        reply = await super()._grants(request)
        if self._server != self._ledger.genesis.members[0].id_key:
            return reply
        self.asked.append(request.key)
        return self._spoil(reply)

    def _spoil(self, true: GrantsReply) -> GrantsReply:
        return true


class Withholding(Liar):
    """Tells of no grant."""

    def _spoil(self, true: GrantsReply) -> GrantsReply:
        return GrantsReply((), GrantId(b""))


class Resurrecting(Liar):
    """Tells of every grant that was ever live."""

    kept: ClassVar[dict[GrantId, OwnerCopy]] = {}

    def _spoil(self, true: GrantsReply) -> GrantsReply:
        self.kept.update({one.grant: one for one in true.copies})
        return replace(true, copies=tuple(one for _, one in sorted(self.kept.items())))


class Circling(Liar):
    """Never comes to the end of the list."""

    def _spoil(self, true: GrantsReply) -> GrantsReply:
        return replace(true, next=GrantId(bytes(32)))


class Swapping(Liar):
    """Shows a grant under the id of another: both look as if the owner had made them."""

    def _spoil(self, true: GrantsReply) -> GrantsReply:
        boxes = [one.box for one in reversed(true.copies)]
        pairs = zip(true.copies, boxes, strict=True)
        return replace(true, copies=tuple(replace(one, box=box) for one, box in pairs))


@pytest.mark.parametrize("liar", [Withholding, Resurrecting, Circling, Swapping])
def test_a_clinic_that_lies_about_what_was_shared_changes_nothing(liar: type[Liar]) -> None:
    class Clinic(LedgerClinic):
        gateway_type = liar

    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        ended, one, two = [await shared(someone, token, f"n{at}") for at in (1, 2, 3)]
        await recovered(other)
        await someone.my.stop(MyStop(id=ended.hex()))
        await settle(cluster, someone)
        liar.asked.clear()
        device = await recovered(other)
        assert liar.asked
        assert set(await states(device)) == {one.hex(), two.hex()}
        assert {grant.grantee_name for grant in (await device.my.shares()).grants} == {"n2", "n3"}

    play_two(story, clinic=Clinic)


def test_without_any_clinic_that_tells_the_records_are_there_and_the_rest_is_said_to_be_missing() -> None:
    class Mute(Gateway):
        async def _grants(self, request: GrantsRequest) -> GrantsReply:
            return GrantsReply((), GrantId(bytes(32)))

    class Clinic(LedgerClinic):
        gateway_type = Mute

    async def story(cluster: Cluster, someone: Someone, other: NewDevice) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        await shared(someone, token)
        device = await other()
        with pytest.raises(UserError) as missing:
            await device.patient.own_keys.recover(MyRecover(words=WORDS))
        assert missing.value.code is Code.STALE
        assert "my recover" in missing.value.hint
        assert [bytes(one.token) for one in device.wallet.records()] == [token]

    play_two(story, clinic=Clinic)
