"""Runs peer.mjs, a js-libp2p peer, and reads what it tells."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

FOLDER = Path(__file__).parent
PATIENCE_S = 120.0

Event = dict[str, Any]


def node_program() -> str:
    """The path of Node; skips where it or the packages are not installed, which fails in CI."""
    packages = FOLDER / "node_modules"
    program = shutil.which("node", path=packages / ".bin") or shutil.which("node")
    if program is None or not packages.is_dir():
        reason = "the js peer needs Node 20 or newer, and once: npm ci --prefix tests/interop"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return program


class JsPeer:
    """The events of a running js peer, in order."""

    def __init__(self, lines: trio.abc.ReceiveStream) -> None:
        self._lines, self._buffer = lines, b""

    async def next(self) -> Event:
        """The next event. Fails where the peer has ended or says nothing for long."""
        with trio.fail_after(PATIENCE_S):
            while b"\n" not in self._buffer:
                piece = await self._lines.receive_some()
                assert piece, "the js peer ended"
                self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        event: Event = json.loads(line)
        return event

    async def until(self, kind: str) -> Event:
        """The next event of this kind; those before it are passed over."""
        while True:
            event = await self.next()
            if event["event"] == kind:
                return event


@asynccontextmanager
async def js_peer(log: Path, **orders: object) -> AsyncIterator[JsPeer]:
    """A running peer with these orders (see peer.mjs). What it says on stderr goes to `log`."""
    program = [node_program(), str(FOLDER / "peer.mjs"), json.dumps(orders)]
    with log.open("wb") as stderr:
        process = await trio.lowlevel.open_process(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield JsPeer(process.stdout)
            await process.stdin.aclose()
            with trio.fail_after(PATIENCE_S):
                await process.wait()
        finally:
            if process.poll() is None:
                process.kill()
    assert process.returncode == 0, f"the js peer failed: see {log}"
