"""What the clinics of the simulated world tell their administrators about records, grants and readers."""

from dataclasses import replace

import pytest
import trio

from node.store.memory import MemoryStore
from protocol.control import (
    AccessList,
    AccessShow,
    AuditList,
    AuditVerify,
    MyStop,
    RecordItem,
    RecordList,
    RecordShow,
)
from protocol.errors import Code, Refused, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, clinic, get, outside, play, receive_code, share


def test_lists_tell_what_each_clinic_may_know() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        someone.patient.persons.add("Bob")
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        code = await receive_code(someone, first, person="Bob")
        later = await add(first, code, b"%PDF-1.7 " + bytes(1000), name="a.pdf", patient="Bob")
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        grant = await share(someone, added.token, reader)

        async def listed(request: RecordList) -> tuple[RecordItem, ...]:
            return (await clinic(first).records.rows(request)).records

        rows = await listed(RecordList())
        assert [row.token for row in rows] == [later.token, added.token]
        assert [(row.type, row.copies, row.grants) for row in rows] == [("pdf", 3, 0), ("fhir", 3, 1)]
        only_ann = (await clinic(first).records.rows(RecordList(patient="Ann"))).records
        assert [row.token for row in only_ann] == [added.token]
        assert [row.token for row in await listed(RecordList(type="pdf"))] == [later.token]
        assert [row.token for row in await listed(RecordList(type="fhir"))] == [added.token]
        assert await listed(RecordList(type="dicom")) == ()
        assert await listed(RecordList(type="pdf", patient="Ann")) == ()
        [hers] = await listed(RecordList(type="fhir", patient="Ann"))
        assert hers == only_ann[0]
        one_pdf = await clinic(first).records.rows(RecordList(type="pdf", rows=1))
        assert not one_pdf.more
        newest = await clinic(first).records.rows(RecordList(rows=1))
        assert ([row.token for row in newest.records], newest.more) == ([later.token], True)

        [row] = (await clinic(reader).records.rows(RecordList())).records
        assert (row.token, row.title, row.patient, row.copies) == (added.token, "Letter", "", None)
        shown = await clinic(reader).records.show(RecordShow(id=added.token[:6]))
        assert (shown.record.title, shown.generation, shown.erased) == ("Letter", 0, False)
        assert set(shown.holders) == {node.identity.hex() for node in cluster.nodes} - {
            reader.identity.hex()
        }
        unshared = await clinic(reader).records.show(RecordShow(id=later.token))
        assert (unshared.record.title, unshared.record.size) == ("", 1009)

        [held] = (await clinic(reader).access.rows(AccessList())).grants
        assert (held.grant, held.state, held.purposes, held.title) == (grant, "live", ("TREAT",), "Letter")
        assert held.body == ""
        assert (await clinic(reader).access.rows(AccessList(expiring_ms=DAY_MS))).grants == ()
        assert len((await clinic(reader).access.rows(AccessList(expiring_ms=31 * DAY_MS))).grants) == 1
        assert (await clinic(first).access.rows(AccessList())).grants == ()

        await someone.my.stop(MyStop(id=grant))
        await trio.sleep(5)
        [ended] = (await clinic(reader).access.rows(AccessList())).grants
        assert (ended.state, ended.title) == ("ended", "")
        assert (await clinic(reader).records.rows(RecordList())).records == ()

    play(story)


def test_ids_that_are_unknown_or_ambiguous_get_their_errors() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        absent = "0000000" if not added.token.startswith("0") else "fffffff"
        for ask in (
            lambda: get(first, absent),
            lambda: clinic(first).records.show(RecordShow(id=absent)),
            lambda: clinic(first).access.show(AccessShow(id=absent)),
        ):
            with pytest.raises(Refused):
                await ask()
        with pytest.raises(UserError) as purpose:
            await get(first, added.token, "NOSUCH")
        assert purpose.value.code is Code.PURPOSE
        with pytest.raises(UserError) as user:
            await get(first, added.token, user="dr\x00b")
        assert user.value.code is Code.USAGE

    play(story)


def test_an_own_audit_log_is_listed_by_what_is_asked_for() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        views = clinic(first).audit_views
        for purpose in ("TREAT", "HRESCH"):
            for node in (reader, first):
                try:
                    await get(node, added.token, purpose)
                except Refused:
                    continue
        everything = await views.rows(AuditList())
        assert everything.ok
        assert [item.sequence for item in everything.entries] == list(range(len(everything.entries), 0, -1))
        assert everything.head == everything.entries[0].hash
        assert {item.outcome for item in everything.entries} <= {"allowed", "served", "refused"}
        own = await views.rows(AuditList(by=first.name))
        assert {item.member for item in own.entries} == {first.identity.hex()}
        assert len((await views.rows(AuditList(by="dr b"))).entries) == len(everything.entries)
        assert len((await views.rows(AuditList(record=added.token[:8]))).entries) == len(everything.entries)
        assert len((await views.rows(AuditList(patient="Ann"))).entries) == len(everything.entries)
        assert (await views.rows(AuditList(patient="Bob"))).entries == ()
        first_page = await views.rows(AuditList(rows=2))
        oldest = first_page.entries[-1].sequence
        rest = await views.rows(AuditList(before=oldest))
        assert (first_page.entries + rest.entries, rest.ok) == (everything.entries, True)
        assert (await views.rows(AuditList(before=1))).entries == ()
        assert (await views.rows(AuditList(before=10**9))).entries == everything.entries
        some = await views.rows(AuditList(rows=1))
        assert (len(some.entries), some.more) == (1, True)

    play(story)


def test_grants_are_found_again_after_a_restart_and_while_a_clinic_was_down() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        reader.crash()
        await share(someone, added.token, reader)
        reader.start()
        await trio.sleep(20)
        assert (await get(reader, added.token))[1] == RECORD
        reader.crash()
        await trio.sleep(1)
        reader.start()
        await trio.sleep(20)
        assert (await get(reader, added.token))[1] == RECORD

    play(story)


def test_nothing_of_a_record_is_in_clear_on_any_disk() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        canary = b"canary of the record" * 20_000
        added = await add(
            first, await receive_code(someone, first), canary, title="canary title", patient="canary name"
        )
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        assert (await get(reader, added.token))[1] == canary
        await trio.sleep(5)
        for node in cluster.nodes:
            for store in node.disk.stores:
                for key, value in store.iterate(b""):
                    assert b"canary" not in key + value

    play(story)


def test_an_audit_log_that_was_rolled_back_does_not_agree_with_the_ledger() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        for _ in range(2):
            with pytest.raises(Refused):
                await get(first, added.token)
        await trio.sleep(20)
        views = clinic(first).audit_views
        verified = await views.verify(AuditVerify())
        assert (verified.ok, verified.entries) == (True, 2)
        assert verified.posted is not None
        first.crash()
        first.disk = replace(first.disk, audit=MemoryStore())
        first.start()
        await trio.sleep(20)
        verified = await clinic(first).audit_views.verify(AuditVerify())
        assert (verified.ok, verified.bad, verified.posted) == (False, 1, None)

    play(story)
