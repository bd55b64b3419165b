"""The daemon's configuration: flags before environment before file before defaults.

The file is TOML with the sections below; `CHARTMESH_SECTION_KEY` in the environment overrides a key.
Unknown keys, wrong types and numbers out of range are errors, and all of them are reported at once.
Relative paths of a file are relative to that file, those of flags and environment to the working
directory.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from node import paths
from node.addresses import dial_problem, listen_problem, names_peer
from node.config_sources import (
    Problem,
    Setting,
    Settings,
    from_environment,
    from_file,
    from_flags,
    list_of_text,
)
from protocol import limits
from protocol.errors import Code, UserError
from protocol.keys import is_public_key
from protocol.limits import GIB, MIB

DEFAULT_DATA_DIR: Final = "~/.chartmesh"
DEFAULT_LISTEN: Final = ("/ip4/0.0.0.0/tcp/4001",)
QUOTA_BYTES_MIN: Final = 64 * MIB
QUOTA_BYTES_DEFAULT: Final = 500 * GIB
QUOTA_BYTES_MAX: Final = 1024 * 1024 * GIB
BLOB_WRITE_BUFFER_BYTES_MIN: Final = MIB
BLOB_WRITE_BUFFER_BYTES_DEFAULT: Final = 16 * MIB
BLOB_WRITE_BUFFER_BYTES_MAX: Final = 128 * MIB
# The system allows 107; a new socket is bound under a longer name and renamed.
SOCKET_PATH_BYTES_MAX: Final = 100

Name = Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS_MAX)]
Address = Annotated[str, msgspec.Meta(max_length=limits.ADDRESS_CHARS_MAX)]
QuotaBytes = Annotated[int, msgspec.Meta(ge=QUOTA_BYTES_MIN, le=QUOTA_BYTES_MAX)]
WriteBufferBytes = Annotated[
    int, msgspec.Meta(ge=BLOB_WRITE_BUFFER_BYTES_MIN, le=BLOB_WRITE_BUFFER_BYTES_MAX)
]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the sections: the fields are the keys. What has no default here gets it in `_defaults`."""


class NodeSection(Section, frozen=True, kw_only=True):
    role: Literal["clinic", "light"] = "clinic"
    name: Name = ""
    data_dir: Path


class Clinic(Section, frozen=True, kw_only=True):
    """A clinic that a light client asks. `id` is its identity key in hexadecimal, and may be left out
    where `address` ends in `/p2p/…`."""

    name: Name
    address: Address
    id: str = ""


class NetworkSection(Section, frozen=True, kw_only=True):
    """`listen` are multiaddresses; a light client listens nowhere unless told to. `announce` are those
    under which others reach this clinic, on its card, where they are not the same."""

    listen: Annotated[tuple[Address, ...], msgspec.Meta(max_length=limits.ADDRESSES_MAX)]
    announce: Annotated[tuple[Address, ...], msgspec.Meta(max_length=limits.ADDRESSES_MAX)] = ()
    genesis: Path
    clinics: Annotated[tuple[Clinic, ...], msgspec.Meta(max_length=limits.MEMBERS_MAX)] = ()


class KeysSection(Section, frozen=True, kw_only=True):
    passphrase_file: Path | None = None


class StorageSection(Section, frozen=True, kw_only=True):
    """`quota_bytes` bounds the ciphertext this node holds for others and itself."""

    quota_bytes: QuotaBytes = QUOTA_BYTES_DEFAULT
    blob_write_buffer_bytes: WriteBufferBytes = BLOB_WRITE_BUFFER_BYTES_DEFAULT


class LogSection(Section, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"


class ControlSection(Section, frozen=True, kw_only=True):
    socket: Path


@dataclass(frozen=True, slots=True)
class Config:
    """The settings in force; all paths are absolute. `origins` says for each `section.key` where it
    came from: `flag`, `environment NAME`, `file PATH` or `default`."""

    node: NodeSection
    network: NetworkSection
    keys: KeysSection
    storage: StorageSection
    log: LogSection
    control: ControlSection
    origins: Mapping[str, str]


class ConfigError(UserError):
    """The configuration is wrong; `found` are all of its problems, `problems` their sentences."""

    def __init__(self, found: list[Problem]) -> None:
        self.found = tuple(found)
        self.problems = tuple(one.text for one in found)
        hint = "correct this and start again; see also: chartmesh config check"
        super().__init__("; ".join(self.problems), hint, code=Code.CONFIG)


SECTIONS: Final[Mapping[str, type[Section]]] = {
    "node": NodeSection,
    "network": NetworkSection,
    "keys": KeysSection,
    "storage": StorageSection,
    "log": LogSection,
    "control": ControlSection,
}
_TYPES: Final[Mapping[str, Any]] = {
    f"{section}.{field.name}": field.type
    for section, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
}
_LISTS: Final = ("network.listen", "network.announce", "network.clinics")


def load_config(
    path: Path | None, env: Mapping[str, str], overrides: Mapping[str, object] | None = None
) -> Config:
    """The configuration in force.

    `path` None reads `config.toml` of the data directory where there is one. `env` is the process's
    environment. `overrides` are flags, as `section.key` to a value or its text.

    Raises:
        ConfigError: with every problem found (Code.CONFIG).
    """
    problems: list[Problem] = []
    above = {
        **from_environment(env, _TYPES.keys(), problems),
        **from_flags(overrides or {}, _TYPES.keys(), problems),
    }
    file = path or _file_of_data_dir(above, env)
    below = {} if file is None else from_file(file.absolute(), _TYPES.keys(), problems)
    settings: Settings = {**below, **above}
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        try:
            values[key] = _convert(key, setting, env)
        except ValueError as error:
            problems.append(Problem(_section(key), f"{key} ({setting.origin}): {error}"))
    config = _assemble({**_defaults(values, env), **values}, settings)
    problems.extend(Problem(_section(text), text) for text in _contradictions(config))
    if problems:
        raise ConfigError(problems)
    return config


def _section(text: str) -> str:
    """The section of what begins with a key."""
    return text.partition(".")[0]


def _file_of_data_dir(settings: Settings, env: Mapping[str, str]) -> Path | None:
    given = settings.get("node.data_dir")
    text = DEFAULT_DATA_DIR if given is None else str(given.value)
    file = paths.config(Path.cwd() / _expand(text, env))
    return file if file.is_file() else None


def _convert(key: str, setting: Setting, env: Mapping[str, str]) -> Any:
    """Raises ValueError (msgspec.ValidationError is one) saying what was expected."""
    value = setting.value
    if key in _LISTS and isinstance(value, str) and setting.is_text:
        value = list_of_text(value)

    def to_path(kind: type, text: object) -> Path:
        if not isinstance(text, str | Path) or not str(text):
            raise ValueError("Expected a path")
        return setting.base / _expand(str(text), env)

    return msgspec.convert(value, _TYPES[key], strict=not setting.is_text, dec_hook=to_path)


def _defaults(values: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any]:
    """The defaults that depend on other settings or on the environment."""
    data_dir = values.get("node.data_dir", Path.cwd() / _expand(DEFAULT_DATA_DIR, env))
    return {
        "node.data_dir": data_dir,
        "network.genesis": paths.genesis(data_dir),
        "network.listen": () if values.get("node.role") == "light" else DEFAULT_LISTEN,
        "control.socket": paths.socket(data_dir),
    }


def _assemble(values: Mapping[str, Any], settings: Settings) -> Config:
    sections: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        names = [field.name for field in msgspec.structs.fields(kind)]
        given = {name: values[f"{section}.{name}"] for name in names if f"{section}.{name}" in values}
        sections[section] = kind(**given)
    origins = {key: settings[key].origin if key in settings else "default" for key in _TYPES}
    return Config(**sections, origins=origins)


def _contradictions(config: Config) -> Iterator[str]:
    """What is wrong with values that each have the right type."""
    if not config.node.name.isprintable():
        yield "node.name must be printable"
    if len(os.fsencode(config.control.socket)) > SOCKET_PATH_BYTES_MAX:
        yield f"control.socket is longer than {SOCKET_PATH_BYTES_MAX} bytes: {config.control.socket}"
    if config.node.role == "clinic" and not config.network.listen:
        yield "network.listen is empty, and nobody could reach this clinic"
    if config.node.role == "clinic" and config.network.clinics:
        yield "network.clinics is for light clients: a clinic knows the others from the genesis file"
    for problem in map(listen_problem, config.network.listen):
        if problem:
            yield f"network.listen: {problem}"
    for address in config.network.announce:
        problem = dial_problem(address)
        if problem or names_peer(address):
            yield f"network.announce: {problem or f'{address!r} names a peer, which the card does already'}"
    names: set[str] = set()
    for clinic in config.network.clinics:
        if clinic.name in names:
            yield f"network.clinics: two are named {clinic.name}"
        names.add(clinic.name)
        problem = _clinic_problem(clinic)
        if problem:
            yield f"network.clinics: {clinic.name}: {problem}"


def _clinic_problem(clinic: Clinic) -> str:
    problem = dial_problem(clinic.address)
    if problem or (names_peer(clinic.address) and not clinic.id):
        return problem
    try:
        is_key = is_public_key(bytes.fromhex(clinic.id))
    except ValueError:
        is_key = False
    return "" if is_key else "needs its id (66 hexadecimal characters), or an address ending in /p2p/…"


def _expand(text: str, env: Mapping[str, str]) -> Path:
    """A leading `~` is the home directory of `env`."""
    home, rest = text[:1], text[1:]
    if home == "~" and (not rest or rest.startswith("/")):
        return Path(env.get("HOME", "~") + rest).expanduser()
    return Path(text)
