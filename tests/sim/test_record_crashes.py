"""Power cuts in the middle of the record services' writes: nothing served is missing from a log after."""

import pytest
import trio

from protocol.audit import AuditEvent
from protocol.control import AuditVerify
from protocol.errors import Refused, StorageError, TransportError
from tests.sim.disk import PowerLoss
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, clinic, get, outside, play, receive_code, share
from tests.sim.seeds import fresh_seeds


def open_intents(node: SimNode) -> set[int]:
    """Intents in a clinic's log that nothing closes."""
    chain, left = clinic(node).audit.chain, set[int]()
    for sequence in range(1, clinic(node).audit.sequence + 1):
        record = chain.get(sequence)
        assert record is not None
        if record.event == AuditEvent.INTENT:
            left.add(sequence)
        left.discard(record.about)
    return left


@pytest.mark.parametrize("seed", fresh_seeds(3))
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writes", [1, 2, 3, 5])
def test_a_holder_that_loses_power_while_it_serves_comes_back_with_a_whole_log(
    seed: int, writes: int, after: bool
) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        await share(someone, added.token, reader)
        victim = next(node for node in cluster.nodes if node not in (first, reader))
        victim.crash_in_write(writes, after=after, then=lambda: None)
        await get(reader, added.token)
        for _ in range(3):
            # What is asked while clinics fall and rise may be refused; it must never be wrong.
            try:
                assert (await get(reader, added.token))[1] == RECORD
            except (Refused, TransportError):
                continue
        await trio.sleep(20)
        victim.start()
        await trio.sleep(40)
        for node in cluster.nodes:
            assert (await clinic(node).audit_views.verify(AuditVerify())).ok
            assert open_intents(node) == set()
        assert (await get(reader, added.token))[1] == RECORD

    play(story, seed=seed)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("writes", range(1, 12, 2))
def test_an_issuer_that_loses_power_while_it_adds_a_record_has_it_whole_or_not_at_all(
    writes: int, after: bool
) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first, 2)
        try:
            async with trio.open_nursery() as nursery:
                first.crash_in_write(writes, after=after, then=nursery.cancel_scope.cancel)
                await add(first, code, RECORD)
        except* (PowerLoss, StorageError):
            pass
        first.crash()
        await trio.sleep(1)
        first.start()
        await trio.sleep(40)
        vault = clinic(first).vault
        records = (await someone.my.records()).records
        for record in records:
            assert record.title == "Letter"
        again = await add(first, code, RECORD)
        assert again.final
        assert len((await someone.my.records()).records) == len(records) + 1
        assert vault.used_bytes >= len(RECORD) * (len(records) + 1)

    play(story)
