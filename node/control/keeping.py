"""What looks after this node's databases, whatever its part in its network is."""

from collections.abc import Callable
from dataclasses import dataclass

from node.backup.archive import AUDIT, BLOBS, LEDGER
from node.backup.create import Backups, Subject
from node.clinic import Clinic
from node.control.joining import Part
from node.control.stores import StoreViews
from node.light.client import LightClient
from node.ports import Clock, Offload, Store


@dataclass(frozen=True, slots=True)
class Keeping:
    """Backups of the databases, and looks at them."""

    backups: Backups
    stores: StoreViews


def keeping_of(
    node: Part, subject: Subject, *, quota_bytes: int, clock: Clock, offload: Offload
) -> Keeping:
    """Keeps the databases of `node`; an applicant has none yet."""
    databases: dict[str, Store] = {}
    used: Callable[[], tuple[int, int]] | None = None
    match node:
        case Clinic(ports=ports, records=records):
            vault = records.vault
            databases = {LEDGER: ports.ledger_store, AUDIT: ports.audit_store, BLOBS: ports.blob_store}

            def used() -> tuple[int, int]:
                return vault.used_bytes, quota_bytes

        case LightClient(store=store):
            databases = {LEDGER: store}
        case _:
            pass
    return Keeping(
        Backups(subject=subject, databases=databases, clock=clock, offload=offload),
        StoreViews(databases=databases, data_dir=subject.data_dir, offload=offload, used=used),
    )
