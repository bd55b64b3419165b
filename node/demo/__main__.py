"""Plays the demo's story and tells it: a line a step on a terminal, JSON lines for programs."""

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import trio

from node.demo.stage import Stage, StoryBroken
from node.demo.story import Story
from protocol.errors import ChartmeshError
from protocol.exits import DONE, FAILED, INTERRUPTED


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
        print(
            f"\nThe network is running in {stage.root}. Try:\n"
            f"  chartmesh status --config {clinic}\n"
            f"  chartmesh record list --config {clinic}\n"
            f"  chartmesh audit list --config {clinic}\n"
            f"  chartmesh my records --config {patient}\n"
            f"  chartmesh my who --config {patient}\n"
            f"Stop it with:\n"
            f"  for f in {shlex.quote(str(stage.root))}/*.toml; do chartmesh stop --config $f; done"
        )

    def _line(self, document: dict[str, Any]) -> None:
        print(json.dumps({"v": 1, **document}, ensure_ascii=False), flush=True)


async def play(root: Path, teller: Teller, *, keep: bool) -> bool:
    """Plays all steps; whether every one held. Daemons are stopped unless all held and they are kept."""
    stage, began = Stage(root), trio.current_time()
    stage.build()
    story, ok = Story(stage), False
    try:
        for number, (title, step) in enumerate(story.steps(), 1):
            teller.begins(number, title)
            start = trio.current_time()
            try:
                detail, ok = await step(), True
            except (StoryBroken, trio.TooSlowError, ExceptionGroup) as error:
                detail, ok = f"{_cause(error)} (files in {root})", False
            teller.ended(number, title, ok=ok, seconds=trio.current_time() - start, detail=detail)
            if not ok:
                break
        teller.finished(ok=ok, seconds=trio.current_time() - began)
        return ok
    finally:
        if not (ok and keep):
            with trio.CancelScope(shield=True):
                await stage.close(keep=keep or not ok)
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
    root = options.keep.absolute() if options.keep else Path(tempfile.mkdtemp(prefix="chartmesh-demo-"))
    if options.keep and root.exists() and any(root.iterdir()):
        print(f"error: {root} is not empty\nhint: give a new directory to --keep", file=sys.stderr)
        sys.exit(FAILED)
    try:
        ok = trio.run(lambda: play(root, Teller(is_json=options.json), keep=bool(options.keep)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except ChartmeshError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(DONE if ok else FAILED)


if __name__ == "__main__":
    main()
