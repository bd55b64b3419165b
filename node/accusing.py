"""Verifying evidence against a validator: by anyone, from a file, without a network or a daemon."""

import json
from pathlib import Path

from protocol import limits
from protocol.armour import is_wrapped
from protocol.errors import Code, Malformed, UserError
from protocol.evidence import Evidence, read_evidence
from protocol.keys import fingerprint
from protocol.two_chains import TwoChains, read_two_chains


def check_evidence(path: Path, *, is_json: bool) -> None:
    """Says whom the evidence in a file convicts.

    Raises:
        UserError: EVIDENCE: the file cannot be read, or convicts nobody.
    """
    try:
        with path.open("rb") as file:
            text = file.read(2 * limits.ARMOUR_BYTES_MAX + 1).decode("ascii")
        found = read_two_chains(text) if is_wrapped("TWO CHAINS", text) else read_evidence(text)
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
    if isinstance(found, TwoChains):
        _tell_chains(found, is_json=is_json)
    else:
        _tell_contradiction(found, is_json=is_json)


def _tell_contradiction(found: Evidence, *, is_json: bool) -> None:
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


def _tell_chains(found: TwoChains, *, is_json: bool) -> None:
    keys = [key.hex() for key in found.culprits]
    if is_json:
        document = {
            "v": 1,
            "type": "result",
            "network": found.network.hex(),
            "vote_keys": keys,
            "epoch": found.epoch,
            "height": found.height,
        }
        print(json.dumps(document))
        return
    print(
        f"proven: two chains that part at height {found.height} are both final by the committee of epoch "
        f"{found.epoch} of the network {found.network.hex()}, if these are the vote keys of that "
        f"committee: {', '.join(key.hex() for key in found.validators)}; both were signed by the "
        f"holders of {', '.join(keys)}"
    )
