"""What is wrong with this node's disk and databases, in words for `status`."""

from collections.abc import Iterator
from pathlib import Path

from node import paths
from node.store.rebuild import set_aside
from node.store.room import BULK_LOW_WATER, VITAL_LOW_WATER, space
from protocol.limits import MIB


def storage_warnings(data_dir: Path) -> Iterator[str]:
    """One sentence for each thing that somebody should look after."""
    free, bulk = space(data_dir, BULK_LOW_WATER)
    _, vital = space(data_dir, VITAL_LOW_WATER)
    if free < vital:
        yield (
            f"the disk is full: {free // MIB} MiB free, and below {vital // MIB} MiB nothing is written, "
            "so this node neither votes nor serves until there is room again; what is there can be read"
        )
    elif free < bulk:
        yield (
            f"the disk is nearly full: {free // MIB} MiB free, and below {bulk // MIB} MiB no record is "
            "taken in; the ledger goes on"
        )
    for path in (paths.ledger_db(data_dir), paths.blob_db(data_dir)):
        for aside in set_aside(path):
            yield (
                f"a damaged database was set aside and begun anew: look at the disk, and delete {aside} "
                "when nobody needs it as evidence"
            )
