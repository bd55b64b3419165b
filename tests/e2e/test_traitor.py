"""A member whose keys are in the wrong hands signs votes that contradict each other, to a running clinic:
this says so, keeps proof that needs nobody's word, and goes on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from node.demo.stage import Actor, Stage
from node.rpc import Caller
from protocol import limits
from protocol.blocks import (
    NO_BLOCK,
    BlockHash,
    Phase,
    Statement,
    genesis_committee,
    network_id,
    sign_statement,
)
from protocol.codec import HASH_BYTES, decode, encode
from protocol.keys import SigningKey
from protocol.messages.consensus import Vote
from protocol.messages.light import HeadersReply, HeadersRequest
from tests.e2e.clinics import PATIENCE_S, add_record, four_clinics, genesis_of, keys_of, member_of, visiting

AHEAD = 3  # views: the heartbeat moves on while the votes are on their way
NEWEST = HeadersRequest(1, 0)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with four_clinics(tmp_path) as stage:
        yield stage


async def contradict(stage: Stage, clinic: Actor, traitor: Actor) -> None:
    """Sends one clinic two statements of the traitor's that no correct validator makes together."""
    genesis, keys, key = genesis_of(stage), keys_of(traitor), member_of(stage, clinic).id_key
    committee, network = genesis_committee(genesis), network_id(genesis)
    vote_key = SigningKey(keys.vote_seed)
    async with visiting(stage, clinic, keys.identity_seed) as transport:
        light = Caller(transport, "light", reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        reply = decode(
            HeadersReply, await light.call(key, encode(NEWEST)), limit=limits.LIGHT_REPLY_BYTES_MAX
        )
        assert reply.finality is not None
        newest = reply.finality.certificate.statement
        for phase, block in ((Phase.NULL, NO_BLOCK), (Phase.FINALIZE, BlockHash(b"\1" * HASH_BYTES))):
            statement = Statement(newest.epoch, newest.view + AHEAD, phase, block)
            signer = committee.validators.index(vote_key.public)
            vote = Vote(statement, signer, sign_statement(statement, vote_key, network))
            transport.send(key, "consensus", encode(vote))
        with trio.fail_after(PATIENCE_S):
            while not await evidence_at(clinic, traitor):  # noqa: ASYNC110
                await trio.sleep(0.1)


async def evidence_at(clinic: Actor, against: Actor) -> str:
    rows = (await clinic.ask("network", "members"))["members"]
    [row] = [row for row in rows if row["name"] == against.name]
    return str(row["evidence"])


async def test_contradictory_votes_are_shown_and_proven_to_anyone_and_stop_nobody(
    stage: Stage, tmp_path: Path
) -> None:
    clinic, other, _, traitor = stage.clinics.values()
    await add_record(stage, clinic, b"before")
    await traitor.ask("stop")
    assert not await evidence_at(clinic, traitor)
    await contradict(stage, clinic, traitor)
    assert "contradict" in " ".join((await clinic.status())["warnings"])
    file = tmp_path / "evidence"
    await clinic.ask("network", "evidence", traitor.name, "-o", str(file))
    told = await stage.patient.ask("network", "evidence", "--check", str(file))
    assert told["vote_key"] == SigningKey(keys_of(traitor).vote_seed).public.hex()
    assert (await add_record(stage, other, b"after"))["final"]
