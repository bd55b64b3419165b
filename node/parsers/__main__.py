"""Runs one job: `check` of the files that are named on standard input, or a look at the record there."""

import sys

from node.parsers.confine import allow_time, confine


def main() -> int:
    """Runs one job. Exit status 0 unless it could not even say what is wrong."""
    confine()
    allow_time()
    from node.parsers import jobs

    job = jobs.JOBS[sys.argv[1]]
    job(sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
