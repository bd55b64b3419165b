"""A mother and her child in one wallet, at two clinics: each joins each one's records, and no others."""

import pytest
import trio

from protocol.control import (
    AccessAsk,
    AuditList,
    MyApprove,
    MyRecords,
    MyRecover,
    MyStop,
    PatientEnrol,
    PatientShow,
    RecordList,
)
from protocol.errors import Code, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, clinic, erase, get, play, receive_code, share
from tests.sim.test_own_keys import BLANK, WORDS


async def titles(node: SimNode, name: str) -> list[tuple[str, str]]:
    """Issuer and title of all that a clinic lists of a patient, the newest first."""
    rows = (await clinic(node).patient_views.show(PatientShow(name=name))).records
    return [(row.issuer_name, row.title) for row in rows]


async def mother_and_child(someone: Someone, first: SimNode, second: SimNode) -> dict[str, str]:
    """A record of each at each of two clinics; the tokens by title. Both clinics call them Ann and Mia."""
    someone.patient.persons.add("Mia")
    found: dict[str, str] = {}
    for node in (first, second):
        for person, name in (("me", "Ann"), ("Mia", "Mia")):
            title, code = f"{name} at {node.name}", await receive_code(someone, node, person=person)
            found[title] = (await add(node, code, RECORD, title=title, patient=name)).token
            await trio.sleep(3)
    await someone.my.known()
    return found


def test_each_clinic_joins_each_persons_records_and_mixes_none() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        tokens = await mother_and_child(someone, first, second)
        assert await titles(first, "Mia") == [("n0", "Mia at n0")]
        grant = await share(someone, tokens["Mia at n1"], first)
        await share(someone, tokens["Ann at n1"], first)
        await share(someone, tokens["Ann at n0"], second)
        assert await titles(first, "Mia") == [("n1", "Mia at n1"), ("n0", "Mia at n0")]
        assert await titles(first, "Ann") == [("n1", "Ann at n1"), ("n0", "Ann at n0")]
        assert await titles(second, "Ann") == [("n1", "Ann at n1"), ("n0", "Ann at n0")]
        assert await titles(second, "Mia") == [("n1", "Mia at n1")]

        listed = (await clinic(first).records.rows(RecordList(patient="Mia"))).records
        assert [(row.title, row.patient) for row in listed] == [("Mia at n1", "Mia"), ("Mia at n0", "Mia")]
        everything = (await clinic(first).records.rows(RecordList())).records
        assert {row.title: row.patient for row in everything} == {
            title: title.split()[0] for title in ("Mia at n1", "Mia at n0", "Ann at n1", "Ann at n0")
        }
        assert {row.person for row in (await someone.my.records()).records} == {"me", "Mia"}
        hers = (await someone.my.records(MyRecords(person="Mia"))).records
        assert {row.title for row in hers} == {"Mia at n0", "Mia at n1"}

        # What is stopped is as if it had never been there.
        await someone.my.stop(MyStop(id=grant))
        await trio.sleep(5)
        shown = await clinic(first).patient_views.show(PatientShow(name="Mia"))
        assert [row.title for row in shown.records] == ["Mia at n0"]
        assert not shown.more
        assert await titles(first, "Ann") == [("n1", "Ann at n1"), ("n0", "Ann at n0")]

    play(story)


def test_no_two_clinics_know_anybody_by_the_same_reference() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        tokens = await mother_and_child(someone, first, second)
        for title in tokens:
            await share(someone, tokens[title], cluster.nodes[2])
        known = [{one.reference for one in clinic(node).patients.all()} for node in (first, second)]
        held = clinic(cluster.nodes[2]).inbox
        boxes = [held.open(grant) for grant in held.held()]
        third = {box.reference for box in boxes if box is not None}
        assert [len(one) for one in (*known, third)] == [2, 2, 2]
        assert len(known[0] | known[1] | third) == 6
        # Nor is a reference of the issuer's in what a reader is given.
        read = b"".join(box.body + box.label.title.encode() + box.reference for box in boxes if box)
        assert not any(one in read for one in known[0] | known[1])

    play(story)


def test_a_code_of_another_person_is_not_taken_under_her_name() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        [first] = cluster.nodes[:1]
        someone.patient.persons.add("Mia")
        views = clinic(first).patient_views
        mine, hers = (
            await receive_code(someone, first, person="me"),
            await receive_code(someone, first, person="Mia"),
        )
        await views.enrol(PatientEnrol(name="Ann", code=mine))
        assert [one.name for one in (await views.rows()).patients] == ["Ann"]
        with pytest.raises(UserError, match="not of the person who is called Ann"):
            await add(first, hers, RECORD, patient="Ann")
        with pytest.raises(UserError, match="somebody who is called Ann"):
            await add(first, mine, RECORD, patient="Mia")
        # Without a name, the code says whose it is.
        await add(first, mine, RECORD, patient="", title="by the code alone")
        await trio.sleep(3)
        assert await titles(first, "Ann") == [("n0", "by the code alone")]
        with pytest.raises(UserError, match="no patient called") as caught:
            await titles(first, "Mia")
        assert caught.value.code == Code.REFUSED
        with pytest.raises(UserError, match="for another clinic"):
            await views.enrol(PatientEnrol(name="Ann", code=await receive_code(someone, cluster.nodes[1])))

    play(story)


def test_what_a_clinic_may_not_see_leaves_no_trace_in_what_it_lists() -> None:
    """Erased, ended, of another purpose's time, or never shared: the answer is the same."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        code = await receive_code(someone, first, person="me")
        await clinic(first).patient_views.enrol(PatientEnrol(name="Ann", code=code))
        empty = await clinic(first).patient_views.show(PatientShow(name="Ann"))
        codes = await receive_code(someone, second, 3, "me")
        added = [await add(second, codes, RECORD, title=f"Letter {at}") for at in range(3)]
        await trio.sleep(5)
        await someone.my.known()
        assert await clinic(first).patient_views.show(PatientShow(name="Ann")) == empty
        stopped = await share(someone, added[0].token, first)
        await share(someone, added[1].token, first)
        assert len(await titles(first, "Ann")) == 2
        await someone.my.stop(MyStop(id=stopped))
        await erase(someone, added[1].token)
        await trio.sleep(5)
        assert await clinic(first).patient_views.show(PatientShow(name="Ann")) == empty
        assert (await clinic(first).records.rows(RecordList(patient="Ann"))).records == ()

    play(story)


def test_what_was_read_of_a_patient_is_found_in_the_audit_log_by_her_name() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        tokens = await mother_and_child(someone, first, second)
        await share(someone, tokens["Mia at n0"], second)
        await get(second, tokens["Mia at n0"])
        for name, count in (("Mia", 2), ("Ann", 0)):
            logged = [
                await clinic(node).audit_views.rows(AuditList(patient=name)) for node in (first, second)
            ]
            assert max(len(one.entries) for one in logged) == count

    play(story)


def test_the_words_alone_tell_again_whose_each_record_is() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second = cluster.nodes[:2]
        tokens = await mother_and_child(someone, first, second)
        other = someone_new(cluster, network, keys=BLANK, name="new-device")
        async with trio.open_nursery() as nursery:
            await nursery.start(other.run)
            await trio.sleep(3)
            await other.patient.own_keys.recover(MyRecover(words=WORDS))
            listed = (await other.my.records()).records
            assert {row.title: row.person for row in listed} == {
                title: "person 1" if title.startswith("Mia") else "me" for title in tokens
            }
            other.patient.persons.rename("person 1", "Mia")
            assert {one.name: one.records for one in other.patient.persons.listed().persons} == {
                "me": 2,
                "Mia": 2,
            }
            # Her clinics know both as before.
            await share(other, tokens["Mia at n1"], first)
            assert await titles(first, "Mia") == [("n1", "Mia at n1"), ("n0", "Mia at n0")]
            nursery.cancel_scope.cancel()

    play(story)


def test_a_clinic_that_asks_for_everything_asks_one_person_of_the_wallet() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, second, asker = cluster.nodes[:3]
        tokens = await mother_and_child(someone, first, second)
        code = await receive_code(someone, asker, person="Mia")
        await clinic(asker).patient_views.enrol(PatientEnrol(name="Mia", code=code))
        await clinic(asker).asking.ask(AccessAsk(patient=code, purposes=("TREAT",), for_ms=DAY_MS))
        [asked] = (await someone.patient.requests.rows()).requests
        hers = {token for title, token in tokens.items() if title.startswith("Mia")}
        assert {one.token for one in asked.records} == hers
        shared = (await someone.patient.requests.approve(MyApprove(id=asked.request))).grants
        assert {one.token for one in shared} == hers
        await trio.sleep(5)
        assert {title for _, title in await titles(asker, "Mia")} == {"Mia at n0", "Mia at n1"}

    play(story)
