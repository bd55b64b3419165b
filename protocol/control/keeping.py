"""What the daemon answers about its databases and backups; see `results` for the rules."""

from protocol.control.results import Document, Item


class BackupFileItem(Item, frozen=True, kw_only=True):
    """`entries` is None for a file that holds none, as a key file."""

    name: str
    bytes: int
    sha256: str
    entries: int | None = None


class BackupResult(Document, frozen=True, kw_only=True):
    """A backup. `root` is the hash over all of it; `height` that of the newest final block in it."""

    path: str
    role: str
    id: str
    name: str
    network: str
    time: str
    height: int
    audit_entries: int
    root: str
    files: tuple[BackupFileItem, ...]


class DatabaseItem(Item, frozen=True, kw_only=True):
    """One database: what it takes on the disk."""

    name: str
    bytes: int


class StoreStatResult(Document, frozen=True, kw_only=True):
    """`free_bytes` are those of the disk; below `low_water_bytes` no ciphertext is taken in, and below
    `vital_bytes` nothing is written. `used_bytes` of `quota_bytes` are ciphertext, None where there is
    none to hold."""

    databases: tuple[DatabaseItem, ...]
    free_bytes: int
    low_water_bytes: int
    vital_bytes: int
    used_bytes: int | None = None
    quota_bytes: int | None = None


class DatabaseVerdict(Item, frozen=True, kw_only=True):
    """How many entries were read, and what is wrong, if anything."""

    name: str
    entries: int
    problem: str = ""


class StoreVerifyResult(Document, frozen=True, kw_only=True):
    ok: bool
    databases: tuple[DatabaseVerdict, ...]


class DatabaseFreed(Item, frozen=True, kw_only=True):
    """What one database took on the disk before and after."""

    name: str
    before_bytes: int
    after_bytes: int


class StoreGcResult(Document, frozen=True, kw_only=True):
    databases: tuple[DatabaseFreed, ...]
