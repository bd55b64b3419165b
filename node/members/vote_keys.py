"""A clinic's vote key and, while it is being rotated in, the next one: in memory and on disk.

The next key is durable, with a vote file of its own, before the network hears of it, and the old one is
gone from the disk once the network votes with the next. Whoever finds an old one has a key that proves
nothing.
"""

from pathlib import Path

from msgspec.structs import replace

from node import paths
from node.keystore import ClinicKeys, NextVoteKey, create_keyfile, load_keyfile, replace_keyfile
from node.ports import Entropy, Offload
from node.store.durable import sync_directory
from node.store.votefile import create_vote_file
from protocol.errors import Code, UserError
from protocol.keys import SEED_BYTES, PublicKey, SigningKey


class VoteKeys:
    """The vote keys of the clinic with `keys`, whose files are kept under `passphrase`."""

    def __init__(
        self,
        data_dir: Path,
        keys: ClinicKeys,
        passphrase: bytes | None,
        *,
        entropy: Entropy,
        offload: Offload,
    ) -> None:
        self._data_dir, self.clinic, self._passphrase = data_dir, keys, passphrase
        self._entropy, self._offload = entropy, offload
        self.present = SigningKey(keys.vote_seed)
        self._next_seed: bytes | None = None
        path = paths.next_vote_key(data_dir)
        if path.exists():
            seed = load_keyfile(path, NextVoteKey, passphrase).vote_seed
            # After a crash between the two files the next key is the present one already.
            self._next_seed = None if seed == keys.vote_seed else seed

    @property
    def next(self) -> SigningKey | None:
        return None if self._next_seed is None else SigningKey(self._next_seed)

    def all(self) -> tuple[SigningKey, ...]:
        """The keys that may vote, each in the epochs whose committee has it."""
        return (self.present,) if self.next is None else (self.present, self.next)

    async def make_next(self) -> SigningKey:
        """The next key: the one there is, or a new one, on disk when this returns.

        Raises:
            UserError: KEY_FILE: the disk failed.
        """
        if self._next_seed is None:
            seed, path = self._entropy.bytes(SEED_BYTES), paths.next_vote_key(self._data_dir)
            votes = paths.votes(self._data_dir, self.clinic.generation + 1)
            made = NextVoteKey(seed)
            # Of a rotation that a crash cut off before its key was kept, nobody has heard.
            path.unlink(missing_ok=True)
            votes.unlink(missing_ok=True)
            create_vote_file(votes)
            await self._offload.run(lambda: create_keyfile(path, made, self._passphrase, self._entropy))
            self._next_seed = seed
        return SigningKey(self._next_seed)

    async def adopt(self, vote_key: PublicKey) -> bool:
        """Makes the next key the present one where the ledger says that `vote_key` is this clinic's.
        The old one is destroyed when this returns; whether there was something to do.

        Raises:
            UserError: KEY_FILE: the disk failed.
        """
        seed = self._next_seed
        if seed is None or SigningKey(seed).public != vote_key:
            return False
        clinic = replace(self.clinic, vote_seed=seed, generation=self.clinic.generation + 1)
        path = paths.keyfile(self._data_dir)
        await self._offload.run(lambda: replace_keyfile(path, clinic, self._passphrase, self._entropy))
        self.clinic, self.present, self._next_seed = clinic, SigningKey(seed), None
        try:
            paths.next_vote_key(self._data_dir).unlink(missing_ok=True)
            sync_directory(self._data_dir)
        except OSError as error:
            raise UserError(
                f"cannot remove {paths.next_vote_key(self._data_dir)}: {error.strerror}",
                "check the directory and who owns it",
                code=Code.KEY_FILE,
            ) from error
        return True
