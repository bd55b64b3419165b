"""Damage to a clinic's databases while it is down: what others have is fetched again, the rest is told."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from node import paths
from node.demo.stage import Actor, Stage
from node.store import layout
from node.store.leveldb import LEDGER_TUNING, LevelDbStore, open_leveldb
from protocol.blocks import network_id
from tests.e2e.clinics import PATIENCE_S, add_record, genesis_of, shared_clinics

pytestmark = pytest.mark.usefixtures("stage")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with shared_clinics(tmp_path_factory.mktemp("storage")) as stage:
        yield stage


def clinic(stage: Stage, index: int) -> Actor:
    return list(stage.clinics.values())[index]


def database(stage: Stage, path: Path) -> LevelDbStore:
    return open_leveldb(path, tuning=LEDGER_TUNING, network=network_id(genesis_of(stage)))


async def caught_up(actor: Actor, height: int) -> dict[str, Any]:
    """The status of a clinic once it is at `height`."""
    with trio.fail_after(PATIENCE_S):
        while (status := await actor.status())["height"] < height:  # noqa: ASYNC110
            await trio.sleep(0.1)
    return status


async def test_a_ledger_that_lost_an_entry_is_set_aside_and_fetched_again(stage: Stage) -> None:
    victim, other = clinic(stage, 0), clinic(stage, 1)
    added = await add_record(stage, victim, b"kept" * 100, name="letter.bin")
    height = (await victim.status())["height"]
    await victim.ask("stop")
    ledger = paths.ledger_db(victim.data_dir)
    store = database(stage, ledger)
    store.write([], [next(key for key, _ in store.iterate(layout.STATE))], sync=True)
    store.close()
    await victim.ask("start")
    status = await caught_up(victim, height)
    assert [one for one in status["warnings"] if "set aside" in one]
    assert not [one for one in status["warnings"] if "only learns" in one]
    assert len(list(ledger.parent.glob("ledger.damaged-*"))) == 1
    # What only this clinic knew is there: the name of the file that it added.
    rows = (await victim.ask("record", "list"))["records"]
    assert [row["title"] for row in rows if row["token"] == added["token"]] == ["letter.bin"]
    assert (await add_record(stage, victim, b"next"))["final"]
    assert (await add_record(stage, other, b"next but one"))["final"]


async def test_a_ledger_that_does_not_open_is_set_aside_and_fetched_again(stage: Stage) -> None:
    victim = clinic(stage, 1)
    height = (await victim.status())["height"]
    await victim.ask("stop")
    (paths.ledger_db(victim.data_dir) / "CURRENT").write_bytes(b"MANIFEST-999999\n")
    await victim.ask("start")
    await caught_up(victim, height)


async def test_an_audit_log_that_is_damaged_stays_where_it_is_and_nothing_starts(stage: Stage) -> None:
    victim = clinic(stage, 2)
    await add_record(stage, victim, b"a record")
    await victim.ask("stop")
    audit, kept = paths.audit_db(victim.data_dir), victim.data_dir / "audit.kept"
    shutil.copytree(audit, kept)
    manifest = next(one for one in audit.iterdir() if one.name.startswith("MANIFEST"))
    manifest.write_bytes(random.Random(1).randbytes(200))
    answer = await victim.run("start", "--json")
    assert (answer.status, answer.error()["code"]) == (13, "store-damaged")
    assert "evidence" in answer.error()["hint"]
    assert not list(victim.data_dir.glob("audit.damaged*"))
    shutil.rmtree(audit)
    kept.rename(audit)
    await victim.ask("start")
