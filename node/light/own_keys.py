"""The answers to what a patient does with her keys. All that needs the 24 words is here."""

from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.provisions import Provisions
from node.light.recovery import Recovery
from node.light.rotation import Rotation
from node.light.wallet import Wallet
from node.light.words import Cold
from protocol import limits
from protocol.control import (
    KeysExport,
    KeysExportResult,
    KeysRefill,
    LostPhoneResult,
    MyLostPhone,
    MyRecover,
    RecoverResult,
    WalletResult,
)
from protocol.keys import fingerprint
from protocol.sheets import SHEETS_NEEDED
from protocol.wallet import HotMaster, wallet_id


class OwnKeys:
    """One method for each verb."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        rotation: Rotation,
        recovery: Recovery,
        provisions: Provisions,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._rotation, self._recovery, self._provisions = rotation, recovery, provisions

    async def lost_phone(self, request: MyLostPhone) -> LostPhoneResult:
        """New keys for every record, from a device number that was never used. Nothing that comes is shared
        by itself any more."""
        await self._chain.require_fresh()
        for provision in self._provisions.standing():
            self._provisions.end(provision)
        return await self._rotation.lost_phone(request.words, request.keep)

    async def recover(self, request: MyRecover) -> RecoverResult:
        """Everything of the words that is on the ledger."""
        await self._chain.require_fresh()
        await self._clinics.wait_all(limits.CONNECT_S)
        return await self._recovery.recover(request.words)

    async def refill(self, request: KeysRefill) -> WalletResult:
        """A full pool of one-time keys; no clinic is needed for it."""
        cold = Cold(request.words, self._wallet)
        self._wallet.require_pool()
        await cold.refill()
        return self.show()

    def export(self, request: KeysExport) -> KeysExportResult:
        """The words or sheets of them, for paper alone."""
        cold, are_words = Cold(request.words, self._wallet), request.form == "words"
        return KeysExportResult(
            words=cold.words() if are_words else "",
            sheets=() if are_words else cold.sheets(),
            needed=SHEETS_NEEDED,
        )

    def show(self) -> WalletResult:
        """What is public of the wallet, and how long its pool lasts."""
        keys, used = self._wallet.keys, self._wallet.next_index
        name = wallet_id(HotMaster(keys.hot_masters[0]))
        return WalletResult(
            id=name.hex(),
            fingerprint=fingerprint(name),
            device=self._wallet.device,
            used=used,
            left=max(0, keys.first_hash + len(keys.next_key_hashes) - used),
        )
