"""Reads the public test vectors, which lie beside the project and are not part of it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[3] / "shared" / "vectors"

Case = dict[str, Any]


def cases(name: str, folder: Path = FOLDER) -> Iterator[tuple[Case, Case]]:
    """Each test of a file with its group. Skips where the vectors are not there; in CI that fails."""
    path = folder / f"{name}_test.json"
    if not path.is_file():
        reason = f"the public vectors are not in ../shared/vectors: no {path.name}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    groups = json.loads(path.read_text("utf-8"))["testGroups"]
    return ((group, case) for group in groups for case in group["tests"])
