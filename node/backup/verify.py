"""Whether a backup is whole: every hash, and that what it holds hangs together. Needs no daemon."""

from pathlib import Path

from node.backup.archive import (
    AUDIT,
    LEDGER,
    Manifest,
    check_file,
    damaged,
    entries_name,
    load_manifest,
    read_entries,
)
from node.backup.contents import Contents, check_audit_chain, state_root


def verify_backup(folder: Path) -> Manifest:
    """The manifest of a backup that is whole.

    Raises:
        UserError: there is no backup, or a newer version wrote it.
        StorageError: some part is missing, was changed, or does not belong to the rest.
    """
    manifest = load_manifest(folder)
    for file in manifest.files:
        check_file(folder, file)
        if file.entries is not None:
            count = sum(1 for _ in read_entries(folder / file.name))
            if count != file.entries:
                raise damaged(f"{folder / file.name} holds {count} entries, not {file.entries}")
    if manifest.file(entries_name(LEDGER)) is not None and manifest.file(entries_name(AUDIT)) is not None:
        _check_clinic(folder, manifest)
    return manifest


def _check_clinic(folder: Path, manifest: Manifest) -> None:
    contents = Contents()
    for key, value in read_entries(folder / entries_name(LEDGER)):
        contents.note(key, value)
    header = contents.header()
    root = state_root(read_entries(folder / entries_name(LEDGER)))
    if header is None or root != header.state_root or root.hex() != manifest.state_root:
        raise damaged("the ledger's state in the backup does not match its newest final block")
    if check_audit_chain(read_entries(folder / entries_name(AUDIT))) != manifest.audit_entries:
        raise damaged("the audit log in the backup is not as long as it was")
