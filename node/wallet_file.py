"""The wallet's key file while the daemon runs: what the 24 words add to it is durable before it is used."""

from pathlib import Path

from node.keystore import WalletKeys, replace_keyfile
from node.ports import Entropy, Offload


class WalletFile:
    """The keys of a patient's device, in memory and on disk under `passphrase`."""

    def __init__(
        self, path: Path, keys: WalletKeys, passphrase: bytes | None, *, entropy: Entropy, offload: Offload
    ) -> None:
        self._path, self.keys, self._passphrase = path, keys, passphrase
        self._entropy, self._offload = entropy, offload

    async def keep(self, keys: WalletKeys) -> None:
        """Replaces the keys. Raises UserError KEY_FILE: the disk failed, and the old ones go on in
        memory. The file then holds the old or the new ones, whole."""
        await self._offload.run(lambda: replace_keyfile(self._path, keys, self._passphrase, self._entropy))
        self.keys = keys
