"""Plays the demo's story and tells it: a line a step on a terminal, JSON lines for programs."""

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, NoReturn

import trio

from node import paths
from node.config import SOCKET_PATH_BYTES_MAX
from node.demo.stage import Stage, StoryBroken
from node.demo.story import Story
from node.telling import exit_of
from protocol.errors import Code, UserError
from protocol.exits import DONE, FAILED

_PREFIX: Final = "chartmesh-demo-"
_RANDOM: Final = 8 * "x"  # as long as what a temporary folder's name ends in
_SHORT_FOLDER: Final = Path("/var/tmp")


class Teller:
    """Prints the story as it goes."""

    def __init__(self, *, is_json: bool) -> None:
        self._is_json = is_json
        self._is_live = not is_json and sys.stdout.isatty()

    def begins(self, number: int, title: str) -> None:
        if self._is_live:
            print(f"  {number} {title} …", end="\r", flush=True)

    def ended(self, number: int, title: str, *, ok: bool, seconds: float, detail: str) -> None:
        if self._is_json:
            self._line({"step": title, "ok": ok, "seconds": round(seconds, 3), "detail": detail})
            return
        mark = "✓" if ok else "✗"
        clear = "\x1b[K" if self._is_live else ""
        print(f"{mark} {number} {title}  {seconds:.1f} s{clear}\n      {detail}", flush=True)

    def finished(self, *, ok: bool, seconds: float) -> None:
        if self._is_json:
            self._line({"result": "ok" if ok else "failed", "seconds": round(seconds, 3)})
        else:
            print(f"{'everything held' if ok else 'the story broke'}, {seconds:.1f} s")

    def kept(self, stage: Stage) -> None:
        """Commands to try on a network that was left running."""
        if self._is_json:
            return
        clinic, patient = (shlex.quote(str(one.config)) for one in (stage.everyone()[0], stage.patient))
        chartmesh = "uv run chartmesh" if "UV" in os.environ else "chartmesh"
        print(
            f"\nThe network is running in {stage.root}. Try:\n"
            f"  {chartmesh} status --config {clinic}\n"
            f"  {chartmesh} record list --config {clinic}\n"
            f"  {chartmesh} audit list --config {clinic}\n"
            f"  {chartmesh} my records --config {patient}\n"
            f"  {chartmesh} my who --config {patient}\n"
            f"Stop it with:\n"
            f"  for f in {shlex.quote(str(stage.root))}/*.toml; do {chartmesh} stop --config $f; done"
        )

    def _line(self, document: dict[str, Any]) -> None:
        print(json.dumps({"v": 1, **document}, ensure_ascii=False), flush=True)


async def play(root: Path, teller: Teller, *, keep: bool) -> bool:
    """Plays all steps; whether every one held. Daemons are stopped unless all held and they are kept."""
    stage, began = Stage(root), trio.current_time()
    story, ok, is_evidence = Story(stage), False, False
    try:
        stage.build()
        for number, (title, step) in enumerate(story.steps(), 1):
            teller.begins(number, title)
            start = trio.current_time()
            try:
                detail, ok = await step(), True
            except (StoryBroken, trio.TooSlowError, ExceptionGroup) as error:
                detail, ok, is_evidence = f"{_cause(error)} (files in {root})", False, True
            teller.ended(number, title, ok=ok, seconds=trio.current_time() - start, detail=detail)
            if not ok:
                break
        teller.finished(ok=ok, seconds=trio.current_time() - began)
        return ok
    finally:
        if not (ok and keep):
            with trio.CancelScope(shield=True):
                await stage.close(keep=keep or is_evidence)
        else:
            teller.kept(stage)


def _cause(error: BaseException) -> str:
    """The first error inside, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


def main() -> NoReturn:
    parser = argparse.ArgumentParser(prog="chartmesh demo")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    sys.exit(exit_of(lambda: _run(options.keep, is_json=options.json), is_json=options.json))


def _run(keep: Path | None, *, is_json: bool) -> int:
    """The exit status.

    Raises:
        UserError: USAGE, where there is something in `keep` already, or the path is too long.
    """
    root = keep.absolute() if keep is not None else _new_folder()
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(f"{root} is not an empty directory", "give a new one to --keep", code=Code.USAGE)
    if not _has_room_for_sockets(root):
        raise UserError(
            f"the path {root} is too long for the sockets in it",
            "give a shorter one: chartmesh demo --keep DIR",
            code=Code.USAGE,
        )
    ok = trio.run(lambda: play(root, Teller(is_json=is_json), keep=keep is not None))
    return DONE if ok else FAILED


def _new_folder() -> Path:
    """A new folder below that of temporary files, or where its path is too long, below a shorter one."""
    usual = Path(tempfile.gettempdir())
    below = usual if _has_room_for_sockets(usual / (_PREFIX + _RANDOM)) else _SHORT_FOLDER
    return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=below))


def _has_room_for_sockets(root: Path) -> bool:
    sockets = [paths.socket(actor.data_dir) for actor in Stage(root).everyone()]
    return all(len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX for socket in sockets)


if __name__ == "__main__":
    main()
