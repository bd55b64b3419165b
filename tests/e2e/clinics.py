"""Four clinics and a patient as real processes on loopback: the demo's stage, played up to its start."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from node import paths
from node.adapters import SystemClock
from node.demo.stage import Actor, Answer, Stage, environment
from node.demo.story import Story
from node.founding import load_genesis
from node.keystore import ClinicKeys, load_keyfile, read_passphrase_file
from node.net.libp2p_host import Libp2pTransport
from node.ports import PeerAddress
from protocol.blocks import Genesis, Member, network_id

PATIENCE_S = 60.0
POLL_S = 0.01


async def open_clinics(root: Path) -> Stage:
    """Four clinics that have found each other and a patient with a wallet, below `root`.

    Whoever opens them closes the stage.
    """
    stage = Stage(root)
    stage.build()
    try:
        await Story(stage).found()
    except BaseException:
        with trio.CancelScope(shield=True):
            await stage.close(keep=False)
        raise
    return stage


@asynccontextmanager
async def four_clinics(root: Path) -> AsyncIterator[Stage]:
    """As `open_clinics`, for one test that spoils them."""
    stage = await open_clinics(root)
    try:
        yield stage
    finally:
        with trio.CancelScope(shield=True):
            await stage.close(keep=False)


@contextmanager
def shared_clinics(root: Path) -> Iterator[Stage]:
    """As `four_clinics`, for a fixture of many tests: the processes outlive one run of trio."""
    stage = trio.run(open_clinics, root)
    try:
        yield stage
    finally:
        trio.run(partial(stage.close, keep=False))


def genesis_of(stage: Stage) -> Genesis:
    genesis = load_genesis(stage.genesis)
    assert genesis is not None
    return genesis


def member_of(stage: Stage, actor: Actor) -> Member:
    """A clinic as the genesis file has it."""
    return next(member for member in genesis_of(stage).members if member.name == actor.name)


def keys_of(actor: Actor) -> ClinicKeys:
    """The secrets of a clinic, as its administrator could read them."""
    secret = read_passphrase_file(actor.config.with_suffix(".passphrase"))
    return load_keyfile(paths.keyfile(actor.data_dir), ClinicKeys, secret)


@asynccontextmanager
async def visiting(stage: Stage, actor: Actor, seed: bytes) -> AsyncIterator[Libp2pTransport]:
    """A running transport under the identity of `seed` that knows one clinic, and serves nothing."""
    member = member_of(stage, actor)
    transport = Libp2pTransport(
        seed=seed,
        network=network_id(genesis_of(stage)),
        clock=SystemClock(),
        members=[PeerAddress(member.id_key, member.addresses)],
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(transport.run)
        await until(lambda: member.id_key in transport.connected(), "the clinic to be connected")
        yield transport
        nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class SharedRecord:
    """A record that `issuer` added and `reader`, which holds no copy of it, may read for treatment."""

    token: str
    issuer: Actor
    reader: Actor
    content: bytes


async def add_record(
    stage: Stage, issuer: Actor, content: bytes, name: str = "record.bin"
) -> dict[str, Any]:
    """Adds a record for the stage's patient; the row that `record add` prints."""
    code = (await stage.patient.ask("my", "code", "--clinic", issuer.name))["code"]
    file = stage.root / name
    file.write_bytes(content)
    [added] = (await issuer.ask("record", "add", str(file), "--for", code))["records"]
    assert added["final"]
    row: dict[str, Any] = added
    return row


async def share_record(stage: Stage, issuer: Actor, content: bytes) -> SharedRecord:
    """A record that has a reader, once the reader has found its grant.

    A clinic that an earlier test stopped may still be on its way back: without it there were fewer copies.
    """
    await Story(stage).meets_all(issuer)
    added = await add_record(stage, issuer, content)
    holders, token = set(added["holders"]), added["token"]
    [reader] = [one for one in stage.clinics.values() if member_of(stage, one).id_key.hex() not in holders]
    shared = await stage.patient.ask("my", "share", token, "--with", reader.name, "--for", "1d")
    grant = shared["grants"][0]["grant"]
    with trio.fail_after(PATIENCE_S):
        while (await reader.run("access", "show", grant)).status != 0:  # noqa: ASYNC110
            await trio.sleep(POLL_S)
    return SharedRecord(token, issuer, reader, content)


async def until(condition: Callable[[], object], what: str) -> None:
    """Waits until `condition` holds, and fails after a generous while."""
    with trio.move_on_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(POLL_S)
        return
    raise AssertionError(f"waited {PATIENCE_S:.0f} s in vain for {what}")


async def interrupt(
    program: list[str], when: Callable[[int], object], *, folder: Path, **variables: str
) -> Answer:
    """Runs `program` in `folder` and presses Ctrl-C once `when(pid)` holds: as from a terminal, every
    process of its group is told."""
    out, err = folder / "interrupted.out", folder / "interrupted.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            program,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=environment() | variables,
            start_new_session=True,
        )
        await until(lambda: process.poll() is not None or when(process.pid), "the moment to interrupt")
        assert process.returncode is None, f"it ended before that: {err.read_text()}"
        os.killpg(process.pid, signal.SIGINT)
        with trio.fail_after(PATIENCE_S):
            status = await process.wait()
    return Answer(status, out.read_bytes(), err.read_bytes())
