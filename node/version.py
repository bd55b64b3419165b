"""The version of this program, as it is installed."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Empty where the program is not installed."""
    try:
        return version("chartmesh")
    except PackageNotFoundError:
        return ""
