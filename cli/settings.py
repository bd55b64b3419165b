"""The options that every command takes, before or after its name, and what follows from them."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from protocol.control import SOCKET_NAME
from protocol.errors import Code, UserError

DEFAULT_DATA_DIR = Path("~/.chartmesh")
CONFIG_NAME = "config.toml"  # in the data directory, read where no other file is named

# Whoever opens a file says what is wrong with it.
ANY_PATH = click.Path(path_type=Path, readable=False)

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Place:
    """Where a node lives: its directory, and the control socket that its daemon listens on."""

    data_dir: Path
    socket: Path
    flags: str = ""  # what names it again in a command that people are told to type


@dataclass
class Settings:
    """What the shared options say; filled in while click parses."""

    data_dir_flag: Path | None = None
    config: Path | None = None
    passphrase_file: Path | None = None
    is_json: bool = False

    @property
    def place(self) -> Place:
        """From flags, else environment, else configuration file, else `~/.chartmesh`.

        Raises:
            UserError: CONFIG, where the configuration file cannot be read.
        """
        given, configured = self._given_data_dir, self._configured
        data_dir = _absolute(given or configured.get("node.data_dir") or DEFAULT_DATA_DIR)
        socket = (
            _path_variable("CONTROL_SOCKET") or configured.get("control.socket") or data_dir / SOCKET_NAME
        )
        return Place(data_dir, _absolute(socket), self._flags())

    @property
    def file(self) -> Path | None:
        """The configuration file: the one named, else that of the data directory where there is one."""
        named = self.config or _path_variable("CONFIG")
        if named is not None:
            return _absolute(named)
        beside = _absolute(self._given_data_dir or DEFAULT_DATA_DIR) / CONFIG_NAME
        return beside if beside.is_file() else None

    @property
    def passphrase_file_in_force(self) -> Path | None:
        """Where the daemon reads its passphrase, by flag, environment or configuration file.

        Raises:
            UserError: as `place`.
        """
        return (
            self.passphrase_file
            or _path_variable("KEYS_PASSPHRASE_FILE")
            or self._configured.get("keys.passphrase_file")
        )

    @property
    def _given_data_dir(self) -> Path | None:
        return self.data_dir_flag or _path_variable("NODE_DATA_DIR")

    @property
    def _configured(self) -> dict[str, Path]:
        file = self.file
        return {} if file is None else _configured(file)

    def _flags(self) -> str:
        named = (("--data-dir", self.data_dir_flag), ("--config", self.config))
        return "".join(f" {flag} {shlex.quote(str(path))}" for flag, path in named if path is not None)


def shared_options(command: F) -> F:
    """Adds `--data-dir`, `--config` and `--json` to a command or group."""
    command = click.option(
        "--json",
        "is_json",
        is_flag=True,
        expose_value=False,
        callback=_keep,
        help="Print JSON, for scripts.",
    )(command)
    command = _path_option("--config", "config", "The configuration file.")(command)
    return _path_option("--data-dir", "data_dir_flag", "The node's directory.")(command)


def passphrase_option(command: F) -> F:
    """Adds `--passphrase-file` to a command that may start the node."""
    return _path_option(
        "--passphrase-file", "passphrase_file", "Read the key file's passphrase from here."
    )(command)


def starting_options(command: F) -> F:
    """Adds the shared options, and what starting the node on demand may need."""
    return shared_options(passphrase_option(command))


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def _path_option(name: str, attribute: str, text: str) -> Callable[[F], F]:
    return click.option(name, attribute, type=ANY_PATH, expose_value=False, callback=_keep, help=text)


def _keep(context: click.Context, parameter: click.Parameter, value: object) -> None:
    settings = context.ensure_object(Settings)
    if value and parameter.name is not None:
        setattr(settings, parameter.name, value)


def _path_variable(name: str) -> Path | None:
    value = os.environ.get(f"CHARTMESH_{name}")
    return Path(value) if value else None


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _configured(file: Path) -> dict[str, Path]:
    """The paths that a configuration file names, which are relative to it. The daemon checks the rest."""
    import tomllib

    try:
        sections = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(
            f"cannot read the configuration {file}: {error}",
            "correct it, or name another with --config",
            code=Code.CONFIG,
        ) from error
    found: dict[str, Path] = {}
    for section, key in (("node", "data_dir"), ("control", "socket"), ("keys", "passphrase_file")):
        table = sections.get(section)
        named = table.get(key) if isinstance(table, dict) else None
        if isinstance(named, str) and named:
            found[f"{section}.{key}"] = file.parent / Path(named).expanduser()
    return found
