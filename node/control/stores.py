"""What `store stat` and `store verify` say of this node's databases."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from node.exchange import Exchange
from node.ports import Offload, Store
from node.store import layout
from node.store.counted import CountedPrefix
from node.store.room import BULK_LOW_WATER, VITAL_LOW_WATER, space
from protocol.control import (
    DatabaseFreed,
    DatabaseItem,
    DatabaseVerdict,
    StoreGcResult,
    StoreStatResult,
    StoreVerifyResult,
)
from protocol.errors import Code, StorageError

STEP_ENTRIES: Final = 4096  # read between two looks whether somebody still wants it


class StoreViews:
    """The databases by name. `used` gives the ciphertext held and its quota, where there is any."""

    def __init__(
        self,
        *,
        databases: Mapping[str, Store],
        data_dir: Path,
        offload: Offload,
        used: Callable[[], tuple[int, int]] | None,
    ) -> None:
        self._databases, self._data_dir = databases, data_dir
        self._offload, self._used = offload, used

    def stat(self) -> StoreStatResult:
        free, low_water = space(self._data_dir, BULK_LOW_WATER)
        used, quota = (None, None) if self._used is None else self._used()
        return StoreStatResult(
            databases=tuple(
                DatabaseItem(name=name, bytes=store.disk_bytes()) for name, store in self._databases.items()
            ),
            free_bytes=free,
            low_water_bytes=low_water,
            vital_bytes=space(self._data_dir, VITAL_LOW_WATER)[1],
            used_bytes=used,
            quota_bytes=quota,
        )

    async def verify(self, exchange: Exchange) -> StoreVerifyResult:
        """Reads every entry, so that each is held against its check, and counts the revocations. That no
        entry of the state or of the audit log is missing shows at a start and in `audit verify`.

        Raises:
            StorageError: the disk failed: that says nothing about what is on it.
        """
        verdicts = [await self._verify(name, store, exchange) for name, store in self._databases.items()]
        return StoreVerifyResult(
            ok=not any(verdict.problem for verdict in verdicts), databases=tuple(verdicts)
        )

    async def gc(self, exchange: Exchange) -> StoreGcResult:
        """Compacts one database after the other; what no record needs any more was deleted before.

        Raises:
            StorageError: STORE_FULL, there may be no room to do it in; or the disk failed.
        """
        freed: list[DatabaseFreed] = []
        for name, store in self._databases.items():
            before = store.disk_bytes()
            await exchange.progress(f"compacting {name}", done=0, total=before)
            await self._offload.run(store.compact)
            freed.append(DatabaseFreed(name=name, before_bytes=before, after_bytes=store.disk_bytes()))
        return StoreGcResult(databases=tuple(freed))

    async def _verify(self, name: str, store: Store, exchange: Exchange) -> DatabaseVerdict:
        count, problem = 0, ""
        entries = store.iterate(b"")

        def step() -> int:
            return sum(1 for _ in zip(range(STEP_ENTRIES), entries, strict=False))

        try:
            while read := await self._offload.run(step):
                count += read
                await exchange.progress(f"reading {name}", done=count, unit="entries")
            # Inline: whoever writes under the prefix must not come between the two counts.
            CountedPrefix(store, layout.DENIED).verify()
        except StorageError as error:
            if error.code is not Code.STORE_DAMAGED:
                raise
            problem = error.message
        return DatabaseVerdict(name=name, entries=count, problem=problem)
