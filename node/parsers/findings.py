"""What a look into a file can come to, other than that all is as it should be."""


class Damaged(Exception):
    """The file is broken, cut short, or not of its type; what is wrong, as the rest of a sentence."""


class Unchecked(Exception):
    """Nothing here can judge the file; why not, as the rest of a sentence."""


def missing_extra(name: str) -> Unchecked:
    """For where a library is not installed."""
    return Unchecked(f"for that, install chartmesh with its extra: chartmesh[{name}]")
