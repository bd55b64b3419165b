"""A clinic asks, the patient sees it and decides: in the simulated world, with whole clinics."""

import pytest
import trio

from protocol import limits
from protocol.control import (
    AccessAsk,
    AccessList,
    AccessShow,
    MyApprove,
    MyDecline,
    MyRecover,
    MyShare,
    RequestItem,
)
from protocol.errors import Code, Refused, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, clinic, get, play, receive_code, share
from tests.sim.test_own_keys import BLANK, WORDS


async def ask(node: SimNode, patient: str | None = None, **fields: object) -> RequestItem:
    """A request of a clinic for treatment, for 30 days."""
    asked: dict[str, object] = {"patient": patient, "purposes": ("TREAT",), "for_ms": 30 * DAY_MS}
    request = AccessAsk(**(asked | fields))  # type: ignore[arg-type]
    return (await clinic(node).asking.ask(request)).request


async def state(node: SimNode, request: str) -> str:
    """What the clinic knows of its request."""
    shown = (await clinic(node).access.show(AccessShow(id=request[:10]))).request
    assert shown is not None
    return shown.state


async def two_records(cluster: Cluster, someone: Someone) -> tuple[str, str]:
    """A bundle and a note of hers, both at the first clinic."""
    code = await receive_code(someone, cluster.nodes[0], 2)
    bundle = await add(cluster.nodes[0], code, RECORD)
    note = await add(cluster.nodes[0], code, b"%PDF-1.7 a note", name="note.pdf")
    await trio.sleep(5)
    return bundle.token, note.token


def test_what_a_clinic_asks_by_a_code_is_seen_approved_and_read() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        asker = cluster.nodes[1]
        bundle, note = await two_records(cluster, someone)
        asked = await ask(asker, await receive_code(someone, asker))
        assert await state(asker, asked.request) == "waiting"
        [seen] = (await someone.patient.requests.rows()).requests
        assert (seen.request, seen.asker, seen.asker_name) == (
            asked.request,
            asker.identity.hex(),
            asker.name,
        )
        assert (seen.kind, seen.purposes, seen.for_s) == ("all", ("TREAT",), 30 * DAY_MS // 1000)
        assert (seen.not_after, seen.state) == (asked.not_after, "waiting")
        assert {one.token for one in seen.records} == {bundle, note}
        with pytest.raises(Refused):
            await get(asker, bundle)

        approved = await someone.patient.requests.approve(MyApprove(id=seen.request))
        assert (len(approved.grants), approved.told) == (2, True)
        await trio.sleep(5)
        assert (await get(asker, bundle))[1] == RECORD
        assert await state(asker, asked.request) == "approved"
        [answered] = (await someone.patient.requests.rows()).requests
        assert answered.state == "approved"
        with pytest.raises(UserError, match="approved already") as caught:
            await someone.patient.requests.approve(MyApprove(id=seen.request))
        assert caught.value.code is Code.USAGE

    play(story)


def test_a_patient_narrows_what_was_asked_and_never_widens_it() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        asker, requests = cluster.nodes[1], someone.patient.requests
        bundle, note = await two_records(cluster, someone)
        fhir = await ask(asker, await receive_code(someone, asker), kind="fhir")
        everything = await ask(asker, await receive_code(someone, asker))
        await requests.rows()
        for longer in (30 * DAY_MS + 1, 60 * DAY_MS):
            with pytest.raises(UserError, match="longer than was asked") as caught:
                await requests.approve(MyApprove(id=fhir.request, for_ms=longer))
            assert caught.value.code is Code.DURATION
        with pytest.raises(UserError, match="not asked for") as caught:
            await requests.approve(MyApprove(id=fhir.request, records=(note,)))
        assert caught.value.code is Code.USAGE
        assert (await someone.my.shares()).grants == ()

        narrow = MyApprove(id=everything.request, for_ms=DAY_MS, records=(bundle,))
        [given] = (await requests.approve(narrow)).grants
        assert given.token == bundle
        assert given.ends_soon
        [of_kind] = (await requests.approve(MyApprove(id=fhir.request))).grants
        assert (of_kind.token, of_kind.ends_soon) == (bundle, False)
        await trio.sleep(5)
        with pytest.raises(Refused):
            await get(asker, note)

    play(story)


def test_a_decline_tells_the_clinic_no_and_is_told_once_it_can_be() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        asker, requests = cluster.nodes[1], someone.patient.requests
        asked = await ask(asker, await receive_code(someone, asker))
        await requests.rows()
        network.cut_off([asker.identity], [someone.transport.identity])
        declined = await requests.decline(MyDecline(id=asked.request))
        assert (declined.told, declined.request.state) == (False, "declined")
        assert (await requests.rows()).unreached == (asker.identity.hex(),)
        assert await state(asker, asked.request) == "waiting"
        network.heal()
        await trio.sleep(20)
        # It is shown by the clinic again, and is not asked of the patient again.
        [one] = (await requests.rows()).requests
        assert one.state == "declined"
        assert await state(asker, asked.request) == "declined"
        assert (await clinic(asker).access.rows(AccessList())).grants == ()

    play(story)


def test_a_request_lapses_on_both_sides() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        asker = cluster.nodes[1]
        asked = await ask(asker, await receive_code(someone, asker), stands_ms=60_000)
        assert len((await someone.patient.requests.rows()).requests) == 1
        await trio.sleep(61)
        assert await state(asker, asked.request) == "lapsed"
        assert (await someone.patient.requests.rows()).requests == ()
        with pytest.raises(UserError) as caught:
            await someone.patient.requests.approve(MyApprove(id=asked.request))
        assert caught.value.code is Code.REFUSED

    play(story)


def test_a_clinic_asks_for_more_of_a_share_that_runs_out() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader = cluster.nodes[1]
        bundle, _ = await two_records(cluster, someone)
        week = MyShare(records=(bundle,), clinic=reader.name, for_ms=7 * DAY_MS, purposes=("TREAT",))
        [first] = (await someone.my.share(week)).grants
        await trio.sleep(5)
        [held] = (await clinic(reader).access.rows(AccessList(expiring_ms=7 * DAY_MS))).grants
        assert held.ends_soon
        asked = await ask(reader, purposes=(), renew=first.grant[:10])
        assert (asked.renews, asked.purposes) == (first.grant, ("TREAT",))
        [seen] = (await someone.patient.requests.rows()).requests
        assert (seen.renews, [one.token for one in seen.records]) == (first.grant, [bundle])
        [more] = (await someone.patient.requests.approve(MyApprove(id=seen.request))).grants
        assert (more.token, more.ends_soon) == (bundle, False)
        assert more.not_after > first.not_after

    play(story)


def test_a_restored_device_finds_what_waits_without_telling_a_clinic_of_other_keys() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, reader = cluster.nodes[:2]
        bundle, _ = await two_records(cluster, someone)
        await share(someone, bundle, reader)
        of_issuer = await ask(first, bundle[:12])
        of_reader = await ask(reader, bundle[:12], kind="fhir")
        new = someone_new(cluster, network, keys=BLANK, name="new phone")
        async with trio.open_nursery() as nursery:
            await nursery.start(new.run)
            await trio.sleep(3)
            await new.patient.own_keys.recover(MyRecover(words=WORDS))
            found = (await new.patient.requests.rows()).requests
            assert {one.request for one in found} == {of_issuer.request, of_reader.request}
            await new.patient.requests.decline(MyDecline(id=of_reader.request))
            nursery.cancel_scope.cancel()
        assert await state(reader, of_reader.request) == "declined"

    play(story)


def test_who_may_be_asked_and_how_often_is_bounded() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, stranger = cluster.nodes[:2]
        bundle, _ = await two_records(cluster, someone)
        with pytest.raises(Refused):
            await ask(stranger, bundle)
        with pytest.raises(UserError, match="for another clinic"):
            await ask(stranger, await receive_code(someone, first))
        for fields, code in (
            ({"purposes": ()}, Code.USAGE),
            ({"purposes": ("BTG",)}, Code.USAGE),
            ({"purposes": ("NONSENSE",)}, Code.PURPOSE),
        ):
            with pytest.raises(UserError) as caught:
                await ask(first, bundle, **fields)
            assert caught.value.code is code
        for _ in range(limits.REQUESTS_PER_KEY_MAX):
            await ask(first, bundle)
        with pytest.raises(UserError, match="too many") as caught:
            await ask(first, bundle)
        assert caught.value.code is Code.LIMIT

    play(story)
