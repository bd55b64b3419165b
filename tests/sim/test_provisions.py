"""Sharing by kind, in the simulated world: what is covered is shared as it comes, unless it was stopped."""

import pytest
import trio

from protocol import limits
from protocol.control import MyLostPhone, MyShareKind, MyShareKindResult, MyStop
from protocol.errors import Code, Refused, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, get, play, receive_code
from tests.sim.test_own_keys import WORDS

NOTE = b"%PDF-1.7 a note"


async def come(someone: Someone, node: SimNode, content: bytes = RECORD) -> str:
    """A record that a clinic adds."""
    name = "bundle.json" if content == RECORD else "note.pdf"
    return (await add(node, await receive_code(someone, node), content, name=name)).token


async def share_all(someone: Someone, node: SimNode, **fields: object) -> MyShareKindResult:
    """With a clinic, for treatment, for 30 days."""
    asked: dict[str, object] = {"clinic": node.name, "for_ms": 30 * DAY_MS, "purposes": ("TREAT",)}
    return await someone.my.share_kind(MyShareKind(**(asked | fields)))  # type: ignore[arg-type]


async def shared(someone: Someone) -> set[str]:
    """The records that a live grant is for."""
    return {one.token for one in (await someone.my.shares()).grants if one.state == "live"}


async def a_while() -> None:
    """Long enough for the wallet to look for new records, and for grants to be final and known."""
    await trio.sleep(2 * limits.PROVISIONS_LOOK_S + 5)


def test_what_is_of_a_kind_is_shared_and_what_comes_only_where_that_was_said() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader = cluster.nodes[0], cluster.nodes[1]
        bundle, note = await come(someone, issuer), await come(someone, issuer, NOTE)
        await trio.sleep(5)
        done = await share_all(someone, reader, kind="fhir")
        assert (await shared(someone), done.provision) == ({bundle}, None)
        later = await come(someone, issuer)
        await a_while()
        assert await shared(someone) == {bundle}
        assert (await get(reader, bundle))[1] == RECORD
        for token in (note, later):
            with pytest.raises(Refused):
                await get(reader, token)

    play(story)


def test_a_record_that_comes_is_shared_by_itself_where_it_is_covered() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader, other, _ = cluster.nodes
        done = await share_all(someone, reader, issuer=issuer.name, is_future=True)
        assert (done.grants, done.provision is None) == ((), False)
        wanted, of_another = await come(someone, issuer), await come(someone, other)
        await a_while()
        assert await shared(someone) == {wanted}
        assert (await get(reader, wanted))[1] == RECORD
        with pytest.raises(Refused):
            await get(reader, of_another)
        [provision] = (await someone.my.shares()).provisions
        [grant] = (await someone.my.shares()).grants
        assert grant.not_after == provision.not_after

    play(story)


def test_what_the_patient_stopped_is_not_shared_again() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader = cluster.nodes[0], cluster.nodes[1]
        await share_all(someone, reader, is_future=True)
        first = await come(someone, issuer)
        await a_while()
        [grant] = (await someone.my.shares()).grants
        await someone.my.stop(MyStop(id=grant.grant))
        second = await come(someone, issuer)
        await a_while()
        assert await shared(someone) == {second}
        with pytest.raises(Refused):
            await get(reader, first)

    play(story)


@pytest.mark.parametrize("end", ["it", "all", "lost phone"])
def test_a_provision_that_was_ended_shares_nothing_more(end: str) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader = cluster.nodes[0], cluster.nodes[1]
        done = await share_all(someone, reader, is_future=True)
        assert done.provision is not None
        first = await come(someone, issuer)
        await a_while()
        assert await shared(someone) == {first}
        if end == "lost phone":
            await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        else:
            stopped = await someone.my.stop(MyStop(id=done.provision.id[:12] if end == "it" else None))
            assert stopped.ended == (done.provision.id,)
            assert [one.final for one in stopped.stops] == [True]
        second = await come(someone, issuer)
        await a_while()
        assert (await someone.my.shares()).provisions == ()
        assert await shared(someone) == set()
        for token in (first, second):
            with pytest.raises(Refused):
                await get(reader, token)

    play(story)


def test_a_kind_of_which_there_is_nothing_is_not_shared_in_silence() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        await come(someone, cluster.nodes[0])
        await trio.sleep(5)
        with pytest.raises(UserError, match="no record of that kind") as caught:
            await share_all(someone, cluster.nodes[1], kind="dicom")
        assert caught.value.code is Code.REFUSED

    play(story)


def test_a_wallet_keeps_a_number_of_provisions_and_those_past_their_date_make_room() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader = cluster.nodes[1]
        for _ in range(limits.PROVISIONS_MAX):
            await share_all(someone, reader, for_ms=60_000, is_future=True)
        with pytest.raises(UserError) as caught:
            await share_all(someone, reader, is_future=True)
        assert caught.value.code is Code.LIMIT
        await trio.sleep(61)
        await share_all(someone, reader, is_future=True)
        assert len((await someone.my.shares()).provisions) == 1

    play(story)
