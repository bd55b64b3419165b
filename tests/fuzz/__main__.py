"""Fuzzes for as long as one likes: the same doors and acts as the tests, more of them.

    uv run python -m tests.fuzz --seconds 600

prints the seed, every finding as it comes, and at the end how many cases each core-second took. A finding
goes into the corpus: `--keep FOLDER` writes its bytes there.
"""

import argparse
import secrets
import sys
import time
from itertools import count
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.doors import ALL
from tests.fuzz.run import pool_of, storm

ROUND = 500


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--door", default="", help="only doors whose name contains this")
    parser.add_argument("--keep", type=Path, default=None, help="folder for the bytes of findings")
    parser.add_argument("--renew-corpus", action="store_true", help="write the corpus anew and end")
    options = parser.parse_args()
    if options.renew_corpus:
        print(f"{corpus.renew()} lines in {corpus.FILE}")
        return 0
    doors = [door for door in ALL if options.door in door.name]
    print(f"seed {options.seed}, {len(doors)} doors", flush=True)
    pool, cases, findings, started = pool_of(options.seed), 0, 0, time.process_time()
    for turn in count():
        for door in doors:
            for finding in storm(door, f"{options.seed}/{turn}", ROUND, pool):
                findings += 1
                print(f"round {turn}: {finding}", flush=True)
                if options.keep is not None:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    (options.keep / f"{options.seed}-{findings}.hex").write_text(finding.raw.hex() + "\n")
            cases += ROUND
            if time.process_time() - started > options.seconds:
                spent = time.process_time() - started
                print(f"{cases} cases, {findings} findings, {cases / spent:.0f} cases a second of one core")
                return 1 if findings else 0
    raise AssertionError("count() ended")


if __name__ == "__main__":
    sys.exit(main())
