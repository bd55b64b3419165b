"""Where settings come from: flags, environment and file, each read into `section.key`, types unchecked."""

import difflib
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from protocol.limits import MIB

ENVIRONMENT_PREFIX: Final = "CHARTMESH_"
CONFIG_FILE_VARIABLE: Final = "CHARTMESH_CONFIG"  # names the file; read by the programs
CONFIG_BYTES_MAX: Final = MIB


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as given. `origin` is `flag`, `environment NAME` or `file PATH`; a relative path starts
    from `base`; `is_text` where numbers and lists come as text."""

    value: object
    origin: str
    base: Path
    is_text: bool


Settings = dict[str, Setting]


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, in a sentence; `section` is empty where it is of the whole, a flag or a variable."""

    section: str
    text: str


def from_flags(overrides: Mapping[str, object], keys: Collection[str], problems: list[Problem]) -> Settings:
    """Flags, named `section.key`; what is wrong goes to `problems`."""
    problems.extend(Problem("", _unknown("flag", key, keys)) for key in overrides if key not in keys)
    return {
        key: Setting(value, "flag", Path.cwd(), isinstance(value, str))
        for key, value in overrides.items()
        if key in keys
    }


def from_environment(env: Mapping[str, str], keys: Collection[str], problems: list[Problem]) -> Settings:
    """Every `CHARTMESH_SECTION_KEY` of the environment; what is wrong goes to `problems`."""
    names = {ENVIRONMENT_PREFIX + key.replace(".", "_").upper(): key for key in keys}
    settings: Settings = {}
    for variable in sorted(env):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == CONFIG_FILE_VARIABLE:
            continue
        if variable in names:
            origin = f"environment {variable}"
            settings[names[variable]] = Setting(env[variable], origin, Path.cwd(), True)
        else:
            problems.append(Problem("", _unknown("environment variable", variable, names)))
    return settings


def from_file(path: Path, keys: Collection[str], problems: list[Problem]) -> Settings:
    """The keys of a TOML file; what is wrong goes to `problems`."""
    sections = {key.partition(".")[0] for key in keys}
    settings: Settings = {}
    for section, table in _document(path, problems).items():
        if section not in sections:
            problems.append(Problem(section, _unknown(f"{path}: section", section, sections)))
        elif not isinstance(table, dict):
            wrong = f"{path}: {section} must be a section, written [{section}]"
            problems.append(Problem(section, wrong))
        else:
            for name, value in table.items():
                key = f"{section}.{name}"
                if key in keys:
                    settings[key] = Setting(value, f"file {path}", path.parent, False)
                else:
                    problems.append(Problem(section, _unknown(f"{path}: key", key, keys)))
    return settings


def list_of_text(text: str) -> object:
    """A list given as text: a TOML array, or items separated by commas."""
    if not text.lstrip().startswith("["):
        return [item.strip() for item in text.split(",") if item.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"not a TOML array: {error}") from error


def _document(path: Path, problems: list[Problem]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            raw = file.read(CONFIG_BYTES_MAX + 1)
        if len(raw) <= CONFIG_BYTES_MAX:
            return tomllib.loads(raw.decode())
        problems.append(Problem("", f"{path} is longer than {CONFIG_BYTES_MAX} bytes"))
    except OSError as error:
        problems.append(Problem("", f"cannot read {path}: {error.strerror}"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        problems.append(Problem("", f"{path} is not TOML: {error}"))
    return {}


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"{what} {name} is unknown" + (f", did you mean {close[0]}?" if close else "")
