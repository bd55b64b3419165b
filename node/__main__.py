"""`chartmeshd`, and the jobs that the CLI starts this program for: `init`, `network create`, `daemon`."""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from node import collector, config_jobs, paths
from node.accusing import check_evidence
from node.config import DEFAULT_DATA_DIR, Config, ConfigError, load_config
from node.config_sources import CONFIG_FILE_VARIABLE
from node.exported import verify_export
from node.founding import create_network, join_network
from node.init import Passphrase, initialise, read_words
from node.telling import exit_of, tell
from protocol.errors import Code, UserError


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one job and exits with the status of `protocol.exits`; its error is told on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parser().parse_args(given)
    except UserError as error:
        sys.exit(tell(error, is_json="--json" in given))
    sys.exit(exit_of(lambda: options.job(options), is_json=options.json, errors_fd=options.errors_fd))


class Parser(argparse.ArgumentParser):
    """Tells mistakes of usage as every other error is told."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message, f"see: {self.prog} --help", code=Code.USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="chartmeshd", description="The daemon of a chartmesh node.")
    parser.set_defaults(job=_daemon, json=False, errors_fd=None)
    _daemon_options(parser)
    jobs = parser.add_subparsers()
    daemon = jobs.add_parser("daemon", help="run in the foreground")
    daemon.set_defaults(job=_daemon)
    _daemon_options(daemon)
    init = jobs.add_parser("init", help="make a node's keys and files")
    init.set_defaults(job=_init)
    _init_options(init)
    _backup_options(jobs.add_parser("backup", help="verify, list or restore a backup"))
    _config_options(jobs.add_parser("config", help="show the settings in force, or check a file"))
    _doctor_options(jobs.add_parser("doctor", help="examine this machine and the node's files"))
    _verify_options(jobs.add_parser("verify", help="verify an exported file of a patient's records"))
    network = jobs.add_parser("network", help="found or join a network").add_subparsers(required=True)
    join = network.add_parser("join", help="join while the daemon is not running")
    join.set_defaults(job=_join)
    join.add_argument("--config", type=Path)
    join.add_argument("--data-dir", type=Path)
    join.add_argument("--json", action="store_true")
    join.add_argument("genesis", type=Path)
    check = network.add_parser("check-evidence", help="verify the evidence in a file")
    check.set_defaults(job=_check_evidence)
    check.add_argument("--json", action="store_true")
    check.add_argument("file", type=Path)
    create = network.add_parser("create", help="make a genesis file of the founders' cards")
    create.set_defaults(job=_create)
    create.add_argument("--name", required=True)
    create.add_argument("-o", "--output", type=Path)
    create.add_argument("--json", action="store_true")
    create.add_argument("cards", nargs="+", type=Path)
    return parser


def _daemon_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--passphrase-file", type=Path)
    secret.add_argument("--passphrase-fd", type=int)
    parser.add_argument("--errors-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")


def _init_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--role", choices=("clinic", "light"))
    parser.add_argument("--name")
    parser.add_argument("--listen")
    parser.add_argument("--genesis", type=Path)
    parser.add_argument("--clinic", action="append", default=[])
    parser.add_argument("--passphrase-file", type=Path)
    parser.add_argument("--insecure-no-passphrase", action="store_true")
    parser.add_argument("--words-fd", type=int, help="make a patient's wallet from the 24 words in here")
    parser.add_argument("--json", action="store_true")


def _backup_options(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(required=True)
    for name, job in (("verify", _verify_backup), ("list", _list_backups), ("restore", _restore_backup)):
        one = jobs.add_parser(name)
        one.set_defaults(job=job)
        one.add_argument("--config", type=Path)
        one.add_argument("--data-dir", type=Path)
        one.add_argument("--json", action="store_true")
        one.add_argument("folder", type=Path)


def _config_options(parser: argparse.ArgumentParser) -> None:
    jobs = parser.add_subparsers(required=True)
    show, check = jobs.add_parser("show"), jobs.add_parser("check")
    show.set_defaults(job=_show_config)
    check.set_defaults(job=_check_config)
    for one in (show, check):
        one.add_argument("--config", type=Path)
        one.add_argument("--data-dir", type=Path)
        one.add_argument("--json", action="store_true")
    show.add_argument("--origin", action="store_true")
    check.add_argument("file", type=Path, nargs="?")


def _verify_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(job=_verify_export)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--genesis", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("file", type=Path)


def _doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(job=_examine)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fix", action="store_true")


def _config(options: argparse.Namespace, **overrides: object) -> Config:
    given = {key.replace("__", "."): value for key, value in overrides.items() if value is not None}
    return load_config(_config_file(options), os.environ, given)


def _config_file(options: argparse.Namespace) -> Path | None:
    """The file that a flag or the environment names."""
    named = os.environ.get(CONFIG_FILE_VARIABLE)
    file: Path | None = options.config or (Path(named) if named else None)
    return file


def _show_config(options: argparse.Namespace) -> None:
    config = _config(options, node__data_dir=options.data_dir)
    config_jobs.show(config, with_origins=options.origin, is_json=options.json)


def _check_config(options: argparse.Namespace) -> int:
    return config_jobs.check(_config_file(options), options.data_dir, options.file, is_json=options.json)


def _examine(options: argparse.Namespace) -> None:
    """One document, whose reader judges: that something is wrong is no error here."""
    from node import doctor

    try:
        config = _config(options, node__data_dir=options.data_dir)
        found = list(doctor.examine(config, flags=_flags(options), is_mending=options.fix))
    except ConfigError as error:
        found = doctor.misconfigured(error)
    checks = [{"check": one.check, "state": one.state, "text": one.text, "fix": one.fix} for one in found]
    print(json.dumps({"v": 1, "type": "result", "checks": checks}))


def _daemon(options: argparse.Namespace) -> None:
    collector.pause()
    # The daemon brings libp2p along, which the other jobs can do without.
    from node.app import run_daemon

    config = _config(
        options, node__data_dir=options.data_dir, keys__passphrase_file=options.passphrase_file
    )
    passphrase = Passphrase.given(config.keys.passphrase_file, options.passphrase_fd)
    run_daemon(config, passphrase.secret, is_json=options.json)


def _init(options: argparse.Namespace) -> None:
    if options.clinic and options.role != "light":
        raise UserError("--clinic is for --role light", "leave it out for a clinic", code=Code.USAGE)
    config = _config(
        options,
        node__data_dir=options.data_dir,
        node__role=options.role,
        node__name=options.name,
        network__listen=None if options.listen is None else [options.listen],
    )
    initialise(
        config,
        genesis=options.genesis,
        clinics=options.clinic,
        passphrase_file=options.passphrase_file,
        insecure=options.insecure_no_passphrase,
        flags=_flags(options),
        write_config=_config_file(options) is None and not paths.config(config.node.data_dir).exists(),
        is_json=options.json,
        words=None if options.words_fd is None else read_words(options.words_fd),
    )


def _flags(options: argparse.Namespace) -> str:
    """What names this node again in a command that people are told to type."""
    if options.config is not None:
        return f" --config {shlex.quote(str(options.config))}"
    is_default = options.data_dir in (None, Path(DEFAULT_DATA_DIR).expanduser())
    return "" if is_default else f" --data-dir {shlex.quote(str(options.data_dir))}"


def _join(options: argparse.Namespace) -> None:
    config = _config(options, node__data_dir=options.data_dir)
    with paths.lock_data_dir(config.node.data_dir):
        join_network(config, options.genesis, is_json=options.json)


def _verify_backup(options: argparse.Namespace) -> None:
    from node.backup import jobs as backups

    backups.verify(options.folder.absolute(), is_json=options.json)


def _list_backups(options: argparse.Namespace) -> int:
    from node.backup import jobs as backups

    return backups.show_all(options.folder.absolute(), is_json=options.json)


def _restore_backup(options: argparse.Namespace) -> None:
    from node.backup import jobs as backups

    config = _config(options, node__data_dir=options.data_dir)
    backups.restore(config, options.folder.absolute(), flags=_flags(options), is_json=options.json)


def _verify_export(options: argparse.Namespace) -> int:
    return verify_export(options.file, options.genesis, options.output, is_json=options.json)


def _check_evidence(options: argparse.Namespace) -> None:
    check_evidence(options.file, is_json=options.json)


def _create(options: argparse.Namespace) -> None:
    create_network(options.name, options.cards, options.output, is_json=options.json)


if __name__ == "__main__":
    main()
