"""The commands of the membership and of the keys, against a scripted daemon over a real socket."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import control
from protocol.control import ChangeItem, Document, MemberItem, NetworkChangeResult
from tests.contract import test_cli
from tests.contract.test_cli import Run
from tests.control_samples import CHANGE, MEMBER, RESULTS
from tests.control_world import STATUS, serving

chartmesh = test_cli.chartmesh
FOUND = RESULTS[control.NetworkInvitationResult]
JOINED = RESULTS[control.NetworkJoinResult]
KEYS = RESULTS[control.KeysResult]
CODE = "CM1" + 600 * "Q"  # as long as they are, which no file name may be


def changed(*, final: bool, act: str = "admit") -> Document:
    change = replace(CHANGE, act=act, is_approved_here=True)
    return NetworkChangeResult(
        change=change, final=final, members=(MEMBER,), pending=() if final else (change,)
    )


async def test_terms_that_nobody_accepts_send_nothing(tmp_path: Path, chartmesh: Run) -> None:
    async with serving(tmp_path, {control.NetworkInvitation: FOUND}) as daemon:
        printed = await chartmesh("network", "join", CODE)
        assert (await chartmesh("network", "join", CODE, "--json")).error["code"] == "terms"
    assert printed.status == 1
    assert "be good" in printed.err
    assert daemon.asked == 2 * [control.NetworkInvitation(code=CODE)]


async def test_a_code_is_answered_by_a_request_that_is_not_final(tmp_path: Path, chartmesh: Run) -> None:
    assert isinstance(JOINED, control.NetworkJoinResult)
    asked = replace(JOINED, joined=False, approvals=1)
    answers: dict[type, Any] = {control.NetworkInvitation: FOUND, control.NetworkApply: asked}
    async with serving(tmp_path, answers) as daemon:
        printed = await chartmesh("network", "join", "--accept-terms", CODE)
        scripted = await chartmesh("network", "join", "--accept-terms", CODE, "--json")
    assert (printed.status, scripted.status) == (5, 5)
    assert "1 of 3 approvals" in printed.out
    assert scripted.documents[0]["joined"] is False
    assert isinstance(FOUND, control.NetworkInvitationResult)
    assert daemon.asked[1] == control.NetworkApply(code=CODE, terms_hash=FOUND.terms_hash)


async def test_a_file_that_is_named_like_a_code_is_a_file(
    tmp_path: Path, chartmesh: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "CM1.genesis").write_text("the genesis")
    async with serving(tmp_path, {control.NetworkJoin: JOINED}) as daemon:
        assert (await chartmesh("network", "join", "CM1.genesis")).status == 0
    assert daemon.asked == [control.NetworkJoin(genesis="the genesis")]


async def test_an_invitation_is_alone_on_the_standard_output(tmp_path: Path, chartmesh: Run) -> None:
    invited = RESULTS[control.NetworkInviteResult]
    async with serving(tmp_path, {control.NetworkInvite: invited}) as daemon:
        printed = await chartmesh("network", "invite", "--expires", "2d")
        drawn = await chartmesh("network", "invite", "--qr")
        too_long = await chartmesh("network", "invite", "--expires", "91d", "--json")
    assert printed.out == "CM1ABC\n"
    assert drawn.out.endswith("CM1ABC\n")
    assert "█" in drawn.out or "▄" in drawn.out
    assert too_long.error["code"] == "duration"
    asked = [control.NetworkInvite(expires_ms=days * 86_400_000) for days in (2, 7)]
    assert daemon.asked == asked


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (["approve", "clinic-e"], control.NetworkApprove(member="clinic-e")),
        (["approve", "--validator", "e"], control.NetworkApprove(member="e", validator=True)),
        (
            ["suspend", "--yes", "--reason", "contract", "e"],
            control.NetworkSuspend(member="e", reason="contract"),
        ),
        (["suspend", "--yes", "e"], control.NetworkSuspend(member="e", reason="other")),
        (["remove", "--yes", "e"], control.NetworkRemove(member="e")),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, list) else "",
)
async def test_a_change_is_5_until_it_is_final(
    tmp_path: Path, chartmesh: Run, words: list[str], request_: control.AnyRequest
) -> None:
    async with serving(tmp_path, {type(request_): changed(final=False)}) as daemon:
        waiting = await chartmesh("network", *words)
        daemon.answers[type(request_)] = changed(final=True)
        final = await chartmesh("network", *words, "--json")
    assert (waiting.status, final.status) == (5, 0)
    assert "1 of 3 approvals" in waiting.err
    assert "NAME" in waiting.out
    assert final.documents[0]["final"] is True
    assert daemon.asked == [request_, request_]


@pytest.mark.parametrize("verb", ["suspend", "remove"])
async def test_what_cannot_be_undone_asks_first(tmp_path: Path, chartmesh: Run, verb: str) -> None:
    async with serving(tmp_path, {}) as daemon:
        refused = await chartmesh("network", verb, "clinic-e", "--json")
    assert refused.status == 2
    assert "--yes" in refused.error["hint"]
    assert daemon.asked == []


async def test_the_table_shows_what_waits_and_how_to_approve_it(tmp_path: Path, chartmesh: Run) -> None:
    seen = MemberItem(
        id="02" * 33,
        name="clinic-b",
        role="follower",
        reachable=False,
        last_height=7,
        software="0.3.0",
        last_seen=control.utc(1),
        evidence="view 3 of epoch 0",
    )
    promote: ChangeItem = replace(CHANGE, act="promote", member="ab" * 33)
    members = control.MembersResult(members=(seen,), pending=(CHANGE, promote))
    async with serving(tmp_path, {control.Members: members}):
        printed = await chartmesh("network", "members")
    for column in ("clinic-b", "follower", "no", "7", "0.3.0", "1970", "view 3 of epoch 0"):
        assert column in printed.out
    assert "chartmesh network approve 03" in printed.out
    assert "chartmesh network approve --validator abababababab" in printed.out


async def test_evidence_is_saved_for_others(tmp_path: Path, chartmesh: Run) -> None:
    found = RESULTS[control.NetworkEvidenceResult]
    none = control.NetworkEvidenceResult(evidence=())
    target = tmp_path / "evidence"
    async with serving(tmp_path, {control.NetworkEvidence: found}) as daemon:
        printed = await chartmesh("network", "evidence")
        saved = await chartmesh("network", "evidence", "a", "-o", str(target))
        daemon.answers[control.NetworkEvidence] = none
        nothing = await chartmesh("network", "evidence")
    assert printed.out == "-----BEGIN"
    assert "view 2 of epoch 1" in printed.err
    assert target.read_text() == "-----BEGIN"
    assert saved.status == 0
    assert (nothing.status, nothing.out) == (0, "")
    assert daemon.asked[:2] == [control.NetworkEvidence(), control.NetworkEvidence(member="a")]


async def test_keys_show_fingerprints_and_a_rotation_is_5_until_it_is_final(
    tmp_path: Path, chartmesh: Run
) -> None:
    assert isinstance(KEYS, control.KeysResult)
    waiting = replace(KEYS, is_rotating=True, final=False)
    answers: dict[type, Any] = {control.Status: STATUS, control.KeysShow: KEYS}
    async with serving(tmp_path, {**answers, control.KeysRotate: waiting}) as daemon:
        shown = await chartmesh("keys", "show")
        rotating = await chartmesh("keys", "rotate")
        daemon.answers[control.KeysRotate] = KEYS
        rotated = await chartmesh("keys", "rotate", "--json")
    assert (shown.status, rotating.status, rotated.status) == (0, 5, 0)
    assert "ab" in shown.out
    assert rotated.documents[0]["vote_fingerprint"] == "cd"
