"""The limits that the parsers' program puts on itself before it looks at anything."""

import resource

from protocol import limits


def confine() -> None:
    """Bounds memory and open files, and writes no file and no core from now on."""
    for which, most in (
        (resource.RLIMIT_AS, limits.PARSER_BYTES_MAX),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, limits.PARSER_FILES_MAX),
    ):
        resource.setrlimit(which, (most, most))


def allow_time() -> None:
    """Gives the next file its processor time; whoever needs more is killed by the kernel."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = int(spent.ru_utime + spent.ru_stime) + limits.PARSER_CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))
