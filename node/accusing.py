"""Verifying evidence against a validator: by anyone, from a file, without a network or a daemon."""

import json
from pathlib import Path

from protocol import limits
from protocol.errors import Code, Malformed, UserError
from protocol.evidence import read_evidence
from protocol.keys import fingerprint


def check_evidence(path: Path, *, is_json: bool) -> None:
    """Says whom the evidence in a file convicts.

    Raises:
        UserError: EVIDENCE: the file cannot be read, or convicts nobody.
    """
    try:
        with path.open("rb") as file:
            text = file.read(2 * limits.ARMOUR_BYTES_MAX + 1).decode("ascii")
        found = read_evidence(text)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", "check the path", code=Code.EVIDENCE
        ) from error
    except (Malformed, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} convicts nobody: it is no evidence, or it is damaged",
            "give one file from: chartmesh network evidence ID -o FILE",
            code=Code.EVIDENCE,
        ) from error
    if is_json:
        document = {
            "v": 1,
            "type": "result",
            "network": found.network.hex(),
            "vote_key": found.vote_key.hex(),
            "epoch": found.epoch,
            "view": found.view,
        }
        print(json.dumps(document))
        return
    print(
        f"proven: the holder of vote key {fingerprint(found.vote_key)} ({found.vote_key.hex()}) signed two "
        f"statements that contradict each other, in view {found.view} of epoch {found.epoch} "
        f"of the network {found.network.hex()}"
    )
