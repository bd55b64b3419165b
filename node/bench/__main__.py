"""`python -P -m node.bench`: runs one bench and prints its report."""

import argparse
import sys
from pathlib import Path

from node.bench.drawing import draw
from node.bench.report import Report
from node.telling import exit_of
from protocol.errors import Code, UserError

BENCHES = (
    "ledger",
    "growth",
    "finality",
    "blobs",
    "sync",
    "join",
    "proofs",
    "page",
    "my",
    "records",
    "startup",
)


def main(arguments: list[str]) -> int:
    """Runs the bench that `arguments` name; the exit status."""
    options = _parse(arguments)
    return exit_of(lambda: _print(options), is_json=options.json)


def _print(options: argparse.Namespace) -> None:
    report = _run(options.name, is_quick=options.quick)
    print(report.json() if options.json else report)
    if options.plot is not None:
        _write(options.plot, draw(report))


def _run(name: str, *, is_quick: bool) -> Report:
    """Each bench is imported alone: none pays for the libraries of another."""
    match name:
        case "ledger":
            from node.bench.ledger import LEDGER, LEDGER_QUICK, bench_ledger

            return bench_ledger(LEDGER_QUICK if is_quick else LEDGER)
        case "growth":
            from node.bench.growth import GROWTH, GROWTH_QUICK, bench_growth

            return bench_growth(GROWTH_QUICK if is_quick else GROWTH)
        case "finality":
            from node.bench.finality import FINALITY, FINALITY_QUICK, bench_finality

            return bench_finality(FINALITY_QUICK if is_quick else FINALITY)
        case "blobs":
            from node.bench.blobs import BLOBS, BLOBS_QUICK, bench_blobs

            return bench_blobs(BLOBS_QUICK if is_quick else BLOBS)
        case "sync":
            from node.bench.sync import SYNC, SYNC_QUICK, bench_sync

            return bench_sync(SYNC_QUICK if is_quick else SYNC)
        case "join":
            from node.bench.join import JOIN, JOIN_QUICK, bench_join

            return bench_join(JOIN_QUICK if is_quick else JOIN)
        case "proofs":
            from node.bench.proofs import PROOFS, PROOFS_QUICK, bench_proofs

            return bench_proofs(PROOFS_QUICK if is_quick else PROOFS)
        case "page":
            from node.bench.page import PAGE, PAGE_QUICK, bench_page

            return bench_page(PAGE_QUICK if is_quick else PAGE)
        case "my":
            from node.bench.mine import MINE, MINE_QUICK, bench_mine

            return bench_mine(MINE_QUICK if is_quick else MINE)
        case "records":
            from node.bench.records import RECORDS, RECORDS_QUICK, bench_records

            return bench_records(RECORDS_QUICK if is_quick else RECORDS)
        case "startup":
            from node.bench.startup import STARTUP, STARTUP_QUICK, bench_startup

            return bench_startup(STARTUP_QUICK if is_quick else STARTUP)
        case _:
            raise UserError(
                f"there is no bench {name}", f"choose one of: {', '.join(BENCHES)}", code=Code.USAGE
            )


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chartmesh bench", description=__doc__)
    parser.add_argument("name", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="shorter, and less exact")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figures there, as SVG")
    return parser.parse_args(arguments)


def _write(path: Path, content: str) -> None:
    try:
        path.write_text(content, "utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "choose another file", code=Code.USAGE
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
