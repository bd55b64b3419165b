"""Bad input at the command line: two lines that say what happened and what to do, the right exit status,
and nothing lost.
"""

import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from node.adapters import SystemClock
from node.bench.workload import Workload
from node.demo.stage import Actor, Stage, environment
from node.rpc import Caller
from protocol import limits
from protocol.blocks import BlockHash, NetworkId, block_hash, network_id
from protocol.chain import genesis_header
from protocol.codec import encode
from protocol.codes import ReceiveCode, encode_code
from protocol.keys import PublicKey, SigningKey
from protocol.messages.consensus import Submission
from protocol.messages.submit import SubmitRequest, decode_submit_reply
from protocol.transactions import transaction_id
from protocol.wallet import ENTROPY_BYTES, cold_master, enrol, hot_master, next_key_hashes
from tests.e2e.clinics import add_record, genesis_of, keys_of, member_of, visiting
from tests.e2e.told import refused, together

NOWHERE = "0123456789abcdef"  # begins no id
PREFIX_CHARS = 6
RECORD_NAME = "own.txt"
WITHOUT_PRIVILEGE = """
import ctypes, os, sys
if os.getuid() == 0:
    for capability in (1, 2):  # of reading files whatever their mode
        assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="module")
def record(stage: Stage) -> str:
    """The token of a record that the patient has from clinic A, shared with nobody."""
    added = trio.run(add_record, stage, stage.clinics["clinic-a"], b"a record", RECORD_NAME)
    token: str = added["token"]
    return token


@pytest.fixture
async def unchanged(stage: Stage, record: str) -> AsyncIterator[None]:
    """What a clinic and the patient list is the same before and after."""
    before = await listed(stage)
    assert record in str(before)
    yield
    assert await listed(stage) == before


async def listed(stage: Stage) -> list[Any]:
    clinic, patient = stage.clinics["clinic-a"], stage.patient
    return await together(
        partial(clinic.ask, "record", "list"),
        partial(patient.ask, "my", "records"),
        partial(patient.ask, "my", "shares"),
    )


# Record files.


async def test_a_file_that_is_no_record_is_named_before_anything_is_sent(
    stage: Stage, unchanged: None, tmp_path: Path
) -> None:
    good, empty, huge = tmp_path / "good", tmp_path / "empty", tmp_path / "huge"
    good.write_bytes(b"good")
    empty.touch()
    huge.touch()
    os.truncate(huge, limits.RECORD_BYTES_MAX + 1)
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "letter").write_bytes(b"words")
    for bad, said in (
        (tmp_path / "missing", "missing is not there"),
        (empty, "empty is empty"),
        (papers, f"no file in {papers} is DICOM"),
        (huge, "huge is larger than 64 GiB"),
    ):
        told = await refused(
            stage.clinics["clinic-a"], "record", "add", str(good), str(bad), "--for", "CM1"
        )
        assert told.kind == (1, "record-file")
        assert said in told.error


async def test_a_file_that_may_not_be_read_is_named(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(mode=0o000)
    program = stage.clinics["clinic-a"].program("record", "add", str(file), "--for", "CM1", "--json")
    wrapped = [sys.executable, "-c", WITHOUT_PRIVILEGE, *program]
    done = await trio.run_process(wrapped, capture_stderr=True, check=False, env=environment())
    if b"AssertionError" in done.stderr:
        pytest.skip("this root may not give up its privilege to read everything")
    assert done.returncode == 1
    assert b'"record-file"' in done.stderr
    assert b"Permission denied" in done.stderr


# Receive codes.


def code_of(
    network: NetworkId, clinic: PublicKey, clinic_name: str, checkpoint: BlockHash, *, days: int = 1
) -> str:
    """A code of some other wallet, which ends in so many days."""
    entropy = os.urandom(ENTROPY_BYTES)
    [next_hash] = next_key_hashes(cold_master(entropy), 0, 1)
    not_after_ms = SystemClock().wall_ms() + days * limits.DAY_MS
    enrolment = enrol(hot_master(entropy), 0, next_hash, clinic, not_after_ms, network)
    return encode_code(ReceiveCode(network, clinic, clinic_name, 0, checkpoint, (enrolment,), bytes(16)))


async def test_a_code_that_cannot_be_used_says_why(stage: Stage, unchanged: None) -> None:
    clinic, genesis = stage.clinics["clinic-a"], genesis_of(stage)
    network, member = network_id(genesis), member_of(stage, clinic)
    other = member_of(stage, stage.clinics["clinic-b"])
    checkpoint = block_hash(genesis_header(genesis))
    good = code_of(network, member.id_key, member.name, checkpoint)
    typo = good[:50] + ("P" if good[50] != "P" else "Q") + good[51:]
    elsewhere = NetworkId(bytes(len(network)))
    file = str(stage.root / RECORD_NAME)
    for code, word in (
        (typo, "mistake"),
        (good[:-10], "mistake"),
        ("CM1", "mistake"),
        (code_of(network, member.id_key, member.name, checkpoint, days=-1), "expired"),
        (code_of(network, other.id_key, other.name, checkpoint), "another clinic: clinic-b"),
        (code_of(elsewhere, member.id_key, member.name, checkpoint), "another network"),
    ):
        told = await refused(clinic, "record", "add", file, "--for", code)
        assert told.kind == (1, "receive-code")
        assert word in told.error


async def test_a_code_is_good_for_one_record(stage: Stage, tmp_path: Path) -> None:
    clinic, file = stage.clinics["clinic-a"], tmp_path / "one"
    file.write_bytes(b"only once")
    code = (await stage.patient.ask("my", "code", "--clinic", clinic.name))["code"]
    added = await clinic.ask("record", "add", str(file), "--for", code)
    before = await listed(stage)
    told = await refused(clinic, "record", "add", str(file), "--for", code)
    assert told.kind == (1, "receive-code")
    assert "used already" in told.error
    assert await listed(stage) == before
    assert added["records"][0]["token"] in str(before)


# Ids, purposes, durations.


async def test_an_id_that_nothing_has_is_refused_or_not_there(stage: Stage, unchanged: None) -> None:
    clinic, patient = stage.clinics["clinic-a"], stage.patient
    for actor, arguments in (
        (clinic, ("record", "show", NOWHERE)),
        (clinic, ("record", "get", NOWHERE, "--purpose", "TREAT")),
        (clinic, ("access", "show", NOWHERE)),
        (patient, ("my", "record", NOWHERE)),
        (patient, ("my", "share", NOWHERE, "--with", "clinic-b", "--for", "1d")),
        (patient, ("my", "stop", NOWHERE)),
        (patient, ("my", "who", NOWHERE)),
    ):
        assert (await refused(actor, *arguments)).kind == (4, "refused")


@pytest.mark.parametrize("text", ["12345", "not-an-id"])
async def test_what_is_no_id_is_a_mistake_of_usage(stage: Stage, text: str) -> None:
    assert (await refused(stage.clinics["clinic-a"], "record", "show", text)).kind == (2, "usage")


async def test_an_ambiguous_id_wants_more_of_it(stage: Stage, unchanged: None) -> None:
    clinic = stage.clinics["clinic-a"]
    identity, network = SigningKey(keys_of(clinic).identity_seed), network_id(genesis_of(stage))
    not_after_ms = SystemClock().wall_ms() + limits.DAY_MS
    twins, prefix = two_alike(Workload(network, [identity], not_after_ms=not_after_ms))
    async with visiting(stage, clinic, os.urandom(32)) as transport:
        caller = Caller(transport, "submit", reply_limit=limits.CONTROL_FRAME_BYTES_MAX)
        reply = await caller.call(identity.public, encode(SubmitRequest(twins)))
    assert all(decode_submit_reply(reply, 2).taken)
    whole = transaction_id(twins[0].transaction).hex()
    for one in map(transaction_id, (mint.transaction for mint in twins)):
        await shown(clinic, one.hex())
    for arguments in (("record", "show", prefix), ("record", "get", prefix, "--purpose", "TREAT")):
        told = await refused(clinic, *arguments)
        assert told.kind == (2, "ambiguous-id")
        assert prefix in told.error
    assert (await clinic.ask("record", "show", whole))["record"]["token"] == whole


def two_alike(workload: Workload) -> tuple[tuple[Submission, Submission], str]:
    """Two mints whose ids begin with the same six characters: some thousand have such a pair."""
    seen: dict[str, Submission] = {}
    while True:
        for mint in workload.mints(100):
            prefix = transaction_id(mint.transaction).hex()[:PREFIX_CHARS]
            if prefix in seen:
                return (seen[prefix], mint), prefix
            seen[prefix] = mint


async def shown(clinic: Actor, token: str) -> None:
    """Returns once a clinic knows a token."""
    with trio.fail_after(30):
        while (await clinic.run("record", "show", token)).status != 0:  # noqa: ASYNC110
            await trio.sleep(0.1)


async def test_no_purpose_and_no_known_purpose_mean_no_access(
    stage: Stage, unchanged: None, record: str
) -> None:
    clinic, share = stage.clinics["clinic-a"], ("my", "share", record, "--with", "clinic-b", "--for", "1d")
    for actor, arguments in (
        (clinic, ("record", "get", record)),
        (clinic, ("record", "get", record, "--purpose", "")),
        (clinic, ("record", "get", record, "--purpose", "fun")),
        (clinic, ("record", "get", record, "--purpose", "ABCD")),
        (stage.patient, (*share, "--purpose", "fun")),
        (stage.patient, (*share, "--purpose", "")),
    ):
        assert (await refused(actor, *arguments)).kind == (2, "purpose")


async def test_a_share_lasts_some_time_and_not_for_ever(stage: Stage, unchanged: None, record: str) -> None:
    for duration in ("0d", "-1d", "401d", "99999999w", "soon", "30"):
        told = await refused(
            stage.patient, "my", "share", record, "--with", "clinic-b", f"--for={duration}"
        )
        assert told.kind == (2, "duration")
        assert repr(duration) in told.error
