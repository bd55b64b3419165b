"""The main job in the simulated world: records added, shared, read, stopped, and who asked for them."""

import hashlib

import pytest
import trio
from msgspec.structs import replace

from node.records.serving import REFUSAL
from protocol.blocks import BlockHash
from protocol.codes import decode_code, encode_code
from protocol.control import (
    AccessShow,
    AuditVerify,
    MyStop,
    MyWho,
    RecordAdd,
    RecordList,
)
from protocol.errors import Code, Malformed, Refused, TransportError, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import (
    RECORD,
    Screen,
    add,
    clinic,
    get,
    outside,
    play,
    receive_code,
    share,
)


def test_the_main_job() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        assert (added.copies, added.missing, added.final, added.type) == (3, (), True, "fhir")
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        refusals = []
        for asked in (added.token, "00" * 32):
            with pytest.raises(Refused) as refused:
                await get(reader, asked)
            refusals.append({seen.sha256 for seen in refused.value.refusals})  # type: ignore[attr-defined]
        assert refusals == [{hashlib.sha256(REFUSAL).digest()}] * 2

        grant = await share(someone, added.token, reader)
        result, content, _ = await get(reader, added.token[:8])
        assert content == RECORD
        assert result.sha256 == hashlib.sha256(RECORD).hexdigest()
        assert (result.name, result.media) == ("bundle.json", "application/fhir+json")
        with pytest.raises(Refused):
            await get(reader, added.token, "HRESCH")
        shown = (await clinic(reader).access.show(AccessShow(id=grant[:10]))).grant
        assert shown is not None
        other = next(node for node in cluster.nodes[1:] if node is not reader)
        with pytest.raises(Refused):
            await get(other, added.token)
        with pytest.raises(Refused):
            await get(other, added.token, grant=shown.body)

        first.crash()
        await trio.sleep(2)
        result, content, _ = await get(reader, added.token)
        assert content == RECORD
        assert result.source != first.identity.hex()
        await someone.my.stop(MyStop(id=grant))
        with pytest.raises(Refused):
            await get(reader, added.token)
        first.start()
        await trio.sleep(30)

        who = await someone.my.who(MyWho())
        seen = {(item.member, item.purpose, item.outcome) for item in who.accesses}
        assert seen >= {
            (reader.identity.hex(), "TREAT", "served"),
            (reader.identity.hex(), "TREAT", "refused"),
            (reader.identity.hex(), "HRESCH", "refused"),
            (other.identity.hex(), "TREAT", "refused"),
        }
        assert all(item.is_proven and item.token == added.token for item in who.accesses)
        assert who.unreached == ()
        for node in cluster.nodes:
            verified = await clinic(node).audit_views.verify(AuditVerify())
            assert verified.ok
            assert (verified.posted is not None) == (verified.entries > 0)

    play(story)


def test_a_code_can_be_used_once_here_now_and_as_often_as_it_says() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        code = await receive_code(someone, first, 2)
        for _ in range(2):
            await add(first, code, RECORD)
        slips = {"used": code, "expired": await receive_code(someone, first)}
        slips["another clinic"] = await receive_code(someone, second)
        slips["not valid"] = code[:-4] + "aaaa"
        for why, slip in slips.items():
            if why == "expired":
                first.clock.step(31 * DAY_MS)
            with pytest.raises(UserError) as caught:
                await add(first, slip, RECORD)
            if why == "expired":
                first.clock.step(-31 * DAY_MS)
            assert caught.value.code is Code.RECEIVE_CODE
        assert len((await clinic(first).records.rows(RecordList())).records) == 2

    play(story)


def test_a_receive_code_from_another_chain_is_refused() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = decode_code(await receive_code(someone, first))
        other = encode_code(replace(code, checkpoint_hash=BlockHash(bytes(32))))
        with pytest.raises(UserError, match="not in this clinic's ledger"):
            await add(first, other, RECORD)
        await add(first, encode_code(code), RECORD)

    play(story)


def test_two_records_with_one_code_at_the_same_time_get_one_enrolment_each() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first, 2)
        tokens: list[str] = []

        async def one() -> None:
            tokens.append((await add(first, code, RECORD)).token)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(one)
        assert len(set(tokens)) == 2

    play(story)


def test_a_client_that_leaves_before_the_mint_leaves_nothing_behind() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first)

        class Leaving(Screen):
            def __init__(self, at_step: str) -> None:
                super().__init__(RECORD)
                self.at_step, self.scope = at_step, trio.CancelScope()

            async def progress(self, step: str, **_: object) -> None:
                if step.startswith(self.at_step):
                    self.scope.cancel()
                await trio.lowlevel.checkpoint()

        for step in ("sealing", "copying"):
            screen = Leaving(step)
            request = RecordAdd(name="a", size=len(RECORD), code=code)
            with screen.scope:
                await clinic(first).issuer.add(request, screen)
            assert screen.scope.cancelled_caught
            assert clinic(first).vault.used_bytes == 0
            assert first.disk.blobs.disk_bytes() == 0
        assert (await add(first, code, RECORD)).final

    play(story)


def test_content_that_is_not_as_long_as_it_was_said_to_be_makes_no_record() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first)
        for size in (len(RECORD) - 1, len(RECORD) + 1):
            with pytest.raises(Malformed):
                await add(first, code, RECORD, size=size)
            assert clinic(first).vault.used_bytes == 0

    play(story)


def test_holders_that_are_down_are_named_and_the_record_is_minted_all_the_same() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first, 5)
        cluster.nodes[3].crash()
        added = [await add(first, code, RECORD + bytes([number])) for number in range(5)]
        assert all(one.final for one in added)
        missing = [one for one in added if one.missing]
        assert missing, "none of these records was to be held by the clinic that is down"
        for one in missing:
            assert one.missing == (cluster.nodes[3].identity.hex(),)
            assert one.copies == 2

    play(story)


def test_a_record_that_is_not_final_in_time_is_said_to_be_pending_and_is_final_later() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first)
        for node in cluster.nodes[1:3]:
            node.crash()
        await trio.sleep(1)
        added = await add(first, code, RECORD)
        assert (added.final, added.height) == (False, None)
        assert (await clinic(first).records.rows(RecordList())).records == ()
        with pytest.raises(UserError):
            await add(first, code, RECORD)
        for node in cluster.nodes[1:3]:
            node.start()
        await trio.sleep(30)
        [row] = (await clinic(first).records.rows(RecordList())).records
        assert (row.token, row.title, row.patient) == (added.token, "Letter", "Ann")

    play(story)


def test_a_clinic_reads_its_own_copy_only_under_a_grant() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        with pytest.raises(Refused):
            await get(first, added.token)
        await share(someone, added.token, first)
        result, content, screen = await get(first, added.token)
        assert content == RECORD
        assert result.source == first.identity.hex()
        assert screen.steps == []

    play(story)


def test_a_clinic_whose_audit_disk_fails_serves_nothing_and_stops() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        holders = [node for node in cluster.nodes if node is not reader]
        for node in holders:
            node.is_disk_failing = True
            node.disk.audit.fail_at(1)
        with pytest.raises((Refused, TransportError)):
            await get(reader, added.token)
        await trio.sleep(1)
        assert [node.is_up for node in holders] == [False] * 3

    play(story)
