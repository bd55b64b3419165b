"""Python's cyclic garbage collector in the daemon: rare, and never over what is there to stay.

What the daemon drops is freed by reference counts; the collector finds the few cycles that errors and
tasks leave behind. At Python's own settings it would look at the libraries' objects and at the ledger's
state again and again, a tenth of all time under load.
"""

import gc
from typing import Final

# Cycles can hold frames of messages: so many objects of them are a few MiB, not hundreds.
YOUNG_OBJECTS_MAX: Final = 5_000


def pause() -> None:
    """While the daemon starts nothing is collected: what is made then stays."""
    gc.disable()


def begin() -> None:
    """From now on only what is made from now on is looked at."""
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    gc.enable()
