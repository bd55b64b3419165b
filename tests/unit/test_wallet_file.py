"""A wallet's key file: whatever the disk does in mid-change, it holds the old keys or the new, whole."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.adapters import InlineOffload, SystemEntropy
from node.keystore import WalletKeys, create_keyfile, load_keyfile
from node.wallet_file import WalletFile
from protocol.errors import Code, UserError

OLD = WalletKeys((b"a" * 32,), (b"h" * 32,))
NEW = WalletKeys((b"a" * 32, b"b" * 32), (b"i" * 32,) * 3, 7)
CALLS = ("open", "fsync", "replace")


class FailingDisk:
    """Lets the first `good` calls through, and fails with the one after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, good: int) -> None:
        self.left, self.has_failed = good, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if self.left == 0 and not self.has_failed:
                self.has_failed = True
                raise OSError(28, "No space left on device")
            self.left -= 1
            return real(*arguments, **named)

        return call


def opened(path: Path) -> WalletFile:
    keys = load_keyfile(path, WalletKeys, None)
    return WalletFile(path, keys, None, entropy=SystemEntropy(), offload=InlineOffload())


async def test_a_disk_that_fails_in_mid_change_leaves_old_keys_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys"
    create_keyfile(path, OLD, None, SystemEntropy())
    found, codes = list[WalletKeys](), set[Code]()
    for good in range(100):
        file = opened(path)
        with monkeypatch.context() as patched:
            disk = FailingDisk(patched, good)
            try:
                await file.keep(NEW)
            except UserError as error:
                codes.add(error.code)
        found.append(load_keyfile(path, WalletKeys, None))
        if not disk.has_failed:
            break
        assert file.keys == OLD
        # What failed can be tried again, and what it left behind is in nobody's way.
        await file.keep(NEW)
        assert opened(path).keys == file.keys == NEW
        await file.keep(OLD)
    assert codes == {Code.KEY_FILE}
    assert len(found) > len(CALLS)
    assert (found[0], found[-1]) == (OLD, NEW)
    assert all(keys in (OLD, NEW) for keys in found)
