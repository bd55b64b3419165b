"""What the 24 words do for a wallet: they give the cold master, and the hot masters of all devices.

The words come with one request and are forgotten with its answer. What a wallet keeps of them is what a
thief of it may have: hot masters, and hashes of next keys.
"""

from collections.abc import Sequence

from node.keystore import NEXT_KEY_HASHES, WalletKeys
from node.light.wallet import Keyed, Wallet
from node.sheets import split_words
from protocol import limits
from protocol.errors import Code, UserError
from protocol.keys import SigningKey
from protocol.wallet import cold_master, entropy_of, hot_master, next_key, next_key_hashes, words_of


class Cold:
    """The words of `wallet`, for as long as one request takes."""

    def __init__(self, words: str, wallet: Wallet) -> None:
        """Raises UserError WORDS: a slip, or the words of another wallet."""
        self._entropy, self._wallet = entropy_of(words), wallet
        if hot_master(self._entropy).secret != wallet.keys.hot_masters[0]:
            raise UserError(
                "these are the words of another wallet",
                "look for the paper of this wallet",
                code=Code.WORDS,
            )
        self._master = cold_master(self._entropy)

    def next_key(self, keyed: Keyed) -> SigningKey:
        """The key that ends the generation of a token with these keys."""
        return next_key(self._master, keyed.index)

    def hot_secret(self, device: int) -> bytes:
        return hot_master(self._entropy, device=device).secret

    def pool(self, first: int, count: int = NEXT_KEY_HASHES) -> tuple[bytes, ...]:
        """The hashes of next keys from index `first` on."""
        return next_key_hashes(self._master, first, count)

    def words(self) -> str:
        """The 24 words, whatever they were given as."""
        return words_of(self._entropy)

    def sheets(self) -> tuple[str, ...]:
        """Five new sheets of the words."""
        return split_words(self._entropy)

    async def refill(self, extra: int = 0) -> None:
        """Fills the pool for what is to come, and `extra` keys more. Raises UserError KEY_FILE."""
        await self.extend(self._wallet.keys.hot_masters, self._wallet.next_index, extra)

    async def extend(self, hot_masters: Sequence[bytes], first: int, extra: int = 0) -> None:
        """Gives the wallet these hot masters and a full pool from index `first` on, durably.

        Raises:
            UserError: KEY_FILE; LIMIT: too many devices.
        """
        if len(hot_masters) > limits.DEVICES_MAX:
            raise UserError(
                "these words have served too many devices",
                "make a wallet with new words, and let clinics add new records to that one",
                code=Code.LIMIT,
            )
        hashes = self.pool(first, NEXT_KEY_HASHES + extra)
        await self._wallet.adopt(WalletKeys(tuple(hot_masters), hashes, first))
