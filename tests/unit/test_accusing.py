"""Evidence in a file is verified by anyone, and says whom it convicts or that it convicts nobody."""

import json
from pathlib import Path

import pytest

from node.accusing import check_evidence
from protocol.errors import Code, UserError
from protocol.evidence import evidence_text
from protocol.keys import fingerprint
from tests.unit.test_evidence import FINALIZE, KEY, NETWORK, NULL, OTHER_KEY, SECOND_VOTE, VOTE, evidence


def test_a_file_convicts_the_key_that_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evidence"
    file.write_text(evidence_text(evidence(NULL, FINALIZE)))
    check_evidence(file, is_json=False)
    said = capsys.readouterr().out
    assert fingerprint(KEY.public) in said
    assert "view 7 of epoch 3" in said
    check_evidence(file, is_json=True)
    document = json.loads(capsys.readouterr().out)
    assert (document["vote_key"], document["network"]) == (KEY.public.hex(), NETWORK.hex())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "ü",
        evidence_text(evidence(VOTE, SECOND_VOTE, OTHER_KEY)),
        evidence_text(evidence(VOTE, NULL)),
    ],
    ids=["empty", "nonsense", "no-text", "other-key", "no-contradiction"],
)
def test_anything_else_convicts_nobody(tmp_path: Path, text: str) -> None:
    file = tmp_path / "evidence"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        check_evidence(file, is_json=False)
    assert caught.value.code is Code.EVIDENCE
    assert caught.value.hint


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_evidence(tmp_path / "nowhere", is_json=False)
    assert caught.value.code is Code.EVIDENCE
