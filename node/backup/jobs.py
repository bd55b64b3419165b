"""`backup verify`, `backup list` and `backup restore` as jobs of the daemon's program."""

import json
import sys
from pathlib import Path

from node import paths
from node.backup.archive import Manifest, find_backups, load_manifest, result_of_backup
from node.backup.restore import restore_backup
from node.backup.verify import verify_backup
from node.config import Config
from protocol.control import encode_document
from protocol.errors import ChartmeshError, Code, UserError
from protocol.exits import DONE, exit_status


def verify(folder: Path, *, is_json: bool) -> None:
    """Raises ChartmeshError where the backup is not whole."""
    manifest = verify_backup(folder)
    if is_json:
        print(encode_document(result_of_backup(folder, manifest)).decode())
    else:
        describe(folder, manifest)
        print("whole: every hash is right, the state matches the newest block, the audit log chains")


def show_all(folder: Path, *, is_json: bool) -> int:
    """One line for each backup in a folder; those that cannot be read are told on stderr."""
    try:
        places = find_backups(folder)
    except OSError as error:
        raise UserError(
            f"cannot read {folder}: {error.strerror}", "check the path", code=Code.USAGE
        ) from error
    status = DONE
    for place in places:
        try:
            manifest = load_manifest(place)
        except ChartmeshError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            status = exit_status(error.code)
            continue
        if is_json:
            print(encode_document(result_of_backup(place, manifest)).decode())
        else:
            who = manifest.name or manifest.id[:12]
            print(f"{manifest.time}  {who}  height {manifest.height}  root {manifest.root}  {place}")
    if not places and not is_json:
        print(f"no backup in {folder}")
    return status


def restore(config: Config, folder: Path, *, flags: str, is_json: bool) -> None:
    """Raises ChartmeshError where it could not be restored; then nothing is left of it."""
    data_dir = config.node.data_dir
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with paths.lock_data_dir(data_dir):
        manifest = restore_backup(config, folder)
    following = f"chartmesh start{flags}"
    renewing = f"chartmesh keys rotate{flags}" if manifest.role == "clinic" else ""
    if is_json:
        document = {
            "v": 1,
            "type": "result",
            "data_dir": str(data_dir),
            "id": manifest.id,
            "time": manifest.time,
            "height": manifest.height,
            "audit_entries": manifest.audit_entries,
            "root": manifest.root,
            "next": [one for one in (following, renewing) if one],
        }
        print(json.dumps(document))
        return
    print(f"restored {manifest.name or manifest.id[:12]} of {manifest.time} into {data_dir}")
    print(f"next: {following}")
    if renewing:
        print(f"      {renewing}: until then the node learns and does not vote, because what its")
        print("      key signed after the backup is not in it")
        print(
            f"The audit log ends at entry {manifest.audit_entries}: what came later is lost, and the other "
            "members see that",
            file=sys.stderr,
        )


def describe(folder: Path, manifest: Manifest) -> None:
    """A backup in lines for people."""
    print(f"backup of {manifest.name or manifest.id[:12]} at {manifest.time} in {folder}")
    for file in manifest.files:
        count = "" if file.entries is None else f"  {file.entries} entries"
        print(f"  {file.name}  {file.bytes} bytes{count}  {file.sha256}")
    print(f"  height {manifest.height}  audit entries {manifest.audit_entries}")
    print(f"  root {manifest.root}")
