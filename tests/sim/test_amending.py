"""Amending a record: a new one that names the old, told apart by who issued it and whose it is."""

import pytest
import trio

from protocol.control import RecordList, RecordShow
from protocol.errors import Code, Refused, UserError
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, clinic, erase, get, play, receive_code, share


def test_an_amended_record_is_one_with_a_history_and_both_stay_readable() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, reader = cluster.nodes[0], cluster.nodes[1]
        code = await receive_code(someone, first, 2)
        old = await add(first, code, RECORD)
        await trio.sleep(5)
        new = await add(first, code, RECORD[:-1], prior=old.token[:8])
        await trio.sleep(5)
        newer, older = (await someone.my.records()).records
        assert (newer.token, newer.prior, newer.amended_by) == (new.token, old.token, "")
        assert (older.token, older.prior, older.amended_by) == (old.token, "", new.token)
        rows = (await clinic(first).records.rows(RecordList())).records
        assert [row.prior for row in rows] == [old.token, ""]

        # What came before is shared by itself: to share the newest shows no more than its id.
        await share(someone, new.token, reader)
        assert (await clinic(reader).records.show(RecordShow(id=new.token))).record.prior == old.token
        assert (await get(reader, new.token))[1] == RECORD[:-1]
        with pytest.raises(Refused):
            await get(reader, old.token)
        await share(someone, old.token, reader)
        assert (await get(reader, old.token))[1] == RECORD

    play(story)


def test_only_a_clinics_own_living_record_of_the_same_patient_can_be_amended() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first, other = cluster.nodes[:2]
        old = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        code, elsewhere = await receive_code(someone, first, 4), await receive_code(someone, other)
        with pytest.raises(Refused):
            await add(other, elsewhere, RECORD, prior=old.token)
        with pytest.raises(Refused):
            await add(first, code, RECORD, prior="00" * 32)
        someone.patient.persons.add("Bob")
        of_bob = await receive_code(someone, first, person="Bob")
        with pytest.raises(UserError, match="under the name Ann") as caught:
            await add(first, of_bob, RECORD, prior=old.token, patient="Bob")
        assert caught.value.code == Code.USAGE
        await erase(someone, old.token)
        await trio.sleep(5)
        with pytest.raises(UserError, match="erased"):
            await add(first, code, RECORD, prior=old.token)
        assert (await someone.my.records()).records == ()

    play(story)
