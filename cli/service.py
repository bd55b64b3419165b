"""The systemd unit of one node: as little of the machine as the daemon can do with."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

import protocol
from cli import render
from cli.settings import Settings, pass_settings, passphrase_option, shared_options
from protocol.errors import Code, UserError

STATE_DIR = Path("/var/lib/chartmesh")
# Folders that the unit hides from the daemon; what it needs of them is shown to it by name.
HIDDEN = tuple(Path("/", name) for name in ("home", "root", "run/user", "tmp", "var/tmp"))
_PLAIN = re.compile(r"[\w/.@+=,-]+")

_UNIT = """\
# A node's daemon under systemd, as `chartmesh service unit` prints it. Save it as
# /etc/systemd/system/chartmesh.service, then:
#   useradd --system --home-dir {home} {user}
#   chown -R {user}: {home}
{advice}#   systemctl enable --now chartmesh
# How it is rated: systemd-analyze security chartmesh.service

[Unit]
Description=chartmesh node
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target
# Never give up: a disk that has room again, or a clock that is right again, then needs nobody.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=5
WatchdogSec=30
TimeoutStopSec=45
{credential}
User={user}
Group={user}
UMask=0077
{state}
RuntimeDirectory=chartmesh
RuntimeDirectoryMode=0750
LimitCORE=0
LimitNOFILE=65536

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={protect_home}
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""
_CREDENTIAL_ADVICE = """\
#   systemd-creds encrypt --name=passphrase - {file}
# Without that credential, remove LoadCredentialEncrypted= and Environment=, and set [keys] passphrase_file
# to a file that the user {user} alone can read. At last:
"""
_CREDENTIAL = """\
LoadCredentialEncrypted=passphrase:{file}
Environment=CHARTMESH_KEYS_PASSPHRASE_FILE=%d/passphrase
"""


@dataclass(frozen=True)
class Service:
    """What differs from one node's unit to another's.

    `program` starts the daemon; `credential` is the encrypted passphrase, None where `passphrase_file`
    or the configuration names another; `needs` are folders and files that the daemon reads.
    """

    program: tuple[str, ...]
    data_dir: Path
    user: str
    config: Path | None = None
    passphrase_file: Path | None = None
    credential: Path | None = None
    needs: tuple[Path, ...] = ()


def unit_of(service: Service) -> str:
    """The unit's text.

    Raises:
        UserError: CONFIG, where a name has characters that would have to be quoted there.
    """
    user = _plain(service.user)
    credential = "" if service.credential is None else _plain(service.credential)
    shown = [path for path in _outermost(_read(service)) if _is_hidden(path)]
    hides_home = not any(_is_hidden(path) for path in (service.data_dir, *shown))
    return _UNIT.format(
        home=_plain(service.data_dir),
        user=user,
        advice=_CREDENTIAL_ADVICE.format(file=credential, user=user) if credential else "",
        command=" ".join(_command(service)),
        credential=_CREDENTIAL.format(file=credential) if credential else "",
        state="\n".join(_state(service.data_dir, shown)),
        protect_home="yes" if hides_home else "tmpfs",
    )


@click.group()
@shared_options
def service() -> None:
    """The node as a service of this machine."""


@service.command()
@shared_options
@passphrase_option
@click.option("--user", default="chartmesh", show_default=True, help="The user that the daemon runs as.")
@click.option(
    "--credential",
    type=click.Path(path_type=Path),
    default=Path("/etc/chartmesh/passphrase.cred"),
    show_default=True,
    help="The encrypted passphrase; left out where the configuration names a file.",
)
@pass_settings
def unit(settings: Settings, user: str, credential: Path) -> None:
    """Print a hardened systemd unit for this node."""
    place, file = settings.place, settings.passphrase_file
    given = file or settings.passphrase_file_in_force
    text = unit_of(
        Service(
            program=_program(),
            data_dir=place.data_dir,
            user=user,
            config=settings.file,
            passphrase_file=None if file is None else file.absolute(),
            credential=None if given else credential.absolute(),
            needs=(*_own_folders(), *([given.absolute()] if given else [])),
        )
    )
    if settings.is_json:
        import json

        click.echo(json.dumps({"v": 1, "type": "result", "unit": text}))
    else:
        click.echo(text, nl=False)
        render.note("save it as /etc/systemd/system/chartmesh.service; its first lines say what comes next")


def _program() -> tuple[str, ...]:
    """What starts the daemon: its console script where it is installed, else the interpreter."""
    script = Path(sys.executable).with_name("chartmeshd")
    return (str(script),) if script.is_file() else (sys.executable, "-P", "-m", "node")


def _own_folders() -> tuple[Path, ...]:
    """Where this program, its interpreter and its source lie."""
    return Path(sys.prefix), Path(sys.base_prefix), Path(*protocol.__path__).parent


def _command(service: Service) -> Iterator[str]:
    yield from map(_plain, service.program)
    if service.config is not None:
        yield f"--config {_plain(service.config)}"
    yield f"--data-dir {_plain(service.data_dir)}"
    if service.passphrase_file is not None:
        yield f"--passphrase-file {_plain(service.passphrase_file)}"


def _state(data_dir: Path, shown: list[Path]) -> Iterator[str]:
    """The lines that let the daemon write where it must, and read what would be hidden."""
    if data_dir == STATE_DIR:
        yield f"StateDirectory={STATE_DIR.name}"
        yield "StateDirectoryMode=0700"
    elif _is_hidden(data_dir):
        yield f"BindPaths={_plain(data_dir)}"
    else:
        yield f"ReadWritePaths={_plain(data_dir)}"
    yield from (f"BindReadOnlyPaths={_plain(path)}" for path in shown)


def _read(service: Service) -> Iterator[Path]:
    yield from service.needs
    if service.config is not None:
        yield service.config


def _outermost(paths: Iterator[Path]) -> list[Path]:
    """Without those that lie in others, in order."""
    given = sorted(set(paths))
    return [path for path in given if not any(other in path.parents for other in given)]


def _is_hidden(path: Path) -> bool:
    return any(folder == path or folder in path.parents for folder in HIDDEN)


def _plain(name: str | Path) -> str:
    """A name that needs no quotes in a unit."""
    if _PLAIN.fullmatch(str(name)) is None:
        raise UserError(
            f"systemd would misread the name {str(name)!r}",
            "use one of letters, digits and /._@+=,- alone",
            code=Code.CONFIG,
        )
    return str(name)
