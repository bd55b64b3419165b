"""Each import contract of pyproject.toml goes red when an import breaks it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.tidy.source import PACKAGES, ROOT

# One module for each thing that must not be, and the line by which import-linter reports it.
PLANTED = {
    "protocol/planted_layer.py": ("import cli", "protocol.planted_layer -> cli"),
    "node/planted_layer.py": ("import cli", "node.planted_layer -> cli"),
    "cli/planted_layer.py": ("import node.ports", "cli.planted_layer -> node.ports"),
    "protocol/planted_clock.py": ("import time", "protocol.planted_clock -> time"),
    "protocol/planted_trio.py": ("from trio import sleep", "protocol.planted_trio -> trio"),
    "protocol/planted_one.py": ("import protocol.planted_two", "planted_one"),
    "protocol/planted_two.py": ("import protocol.planted_one", "planted_two"),
    "node/planted_network.py": ("import libp2p.host", "node.planted_network -> libp2p"),
    "node/planted_store.py": ("import plyvel", "node.planted_store -> plyvel"),
    "node/planted_service.py": ("import node.store.leveldb", "node.planted_service -> node.store.leveldb"),
    "node/planted_box.py": ("import nacl.secret", "node.planted_box -> nacl"),
    "node/planted_cipher.py": ("import cryptography", "node.planted_cipher -> cryptography"),
    "node/planted_words.py": ("import mnemonic", "node.planted_words -> mnemonic"),
    "node/planted_sheets.py": ("import shamir_mnemonic", "node.planted_sheets -> shamir_mnemonic"),
    "node/planted_http.py": ("import hypercorn.config", "node.planted_http -> hypercorn"),
    "node/planted_template.py": ("import jinja2", "node.planted_template -> jinja2"),
    "node/planted_page.py": ("import node.web.sessions", "node.planted_page -> node.web.sessions"),
    "cli/planted_keys.py": ("import protocol.keys", "cli.planted_keys -> protocol.keys"),
}


def test_every_contract_breaks_on_the_import_it_forbids(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    names = [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, (line, _) in PLANTED.items():
        (tmp_path / file).write_text(line + "\n")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert [name for name in names if f"{name} BROKEN" not in answer.stdout] == [], answer.stdout
    assert [report for _, report in PLANTED.values() if report not in answer.stdout] == [], answer.stdout
