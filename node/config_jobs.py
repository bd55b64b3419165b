"""`config show` and `config check` as jobs of the daemon's program: neither needs a daemon, or a node."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from node.config import SECTIONS, Config, ConfigError, load_config
from node.config_sources import Problem
from protocol.exits import DONE, FAILED


def show(config: Config, *, with_origins: bool, is_json: bool) -> None:
    """The settings in force, as a file could have them; `with_origins`, where each comes from."""
    settings = settings_of(config)
    if is_json:
        rows = [{"key": key, "value": settings[key], "origin": config.origins[key]} for key in settings]
        print(json.dumps({"v": 1, "type": "result", "settings": rows}))
        return
    section = ""
    for key, value in settings.items():
        before, section, name = section, *key.split(".")
        if section != before:
            print(f"[{section}]" if not before else f"\n[{section}]")
        origin = f"  # {config.origins[key]}" if with_origins else ""
        print(f"{'# ' if value is None else ''}{name} = {_toml(value)}{origin}")


def settings_of(config: Config) -> dict[str, Any]:
    """Every `section.key` and its value, of types that JSON has."""
    return {
        f"{section}.{field.name}": msgspec.to_builtins(
            getattr(getattr(config, section), field.name), enc_hook=str
        )
        for section, kind in SECTIONS.items()
        for field in msgspec.structs.fields(kind)
    }


def check(config: Path | None, data_dir: Path | None, file: Path | None, *, is_json: bool) -> int:
    """Every mistake of `file`, or where that is None of all that is in force; FAILED where there is one."""
    overrides = {} if file or data_dir is None else {"node.data_dir": data_dir}
    # A file by itself: what this machine's environment says may not hide or add a mistake.
    env: Mapping[str, str] = {"HOME": os.environ.get("HOME", "~")} if file else os.environ
    problems: tuple[Problem, ...] = ()
    try:
        load_config(file or config, env, overrides)
    except ConfigError as error:
        problems = error.found
    if is_json:
        rows = [{"section": one.section, "problem": one.text} for one in problems]
        print(json.dumps({"v": 1, "type": "result", "ok": not problems, "problems": rows}))
    else:
        _print_problems(problems)
    return FAILED if problems else DONE


def _print_problems(problems: tuple[Problem, ...]) -> None:
    if not problems:
        print("no mistake found")
    for section in dict.fromkeys(one.section for one in problems):
        print(f"[{section}]" if section else "the whole:")
        for one in problems:
            if one.section == section:
                print(f"  {one.text}")


def _toml(value: Any) -> str:
    """A value in TOML, whose strings and numbers are those of JSON; a table of a list in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps("" if value is None else value, ensure_ascii=False)
