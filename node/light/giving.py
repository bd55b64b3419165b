"""A record changes hands: the receiver gives out keys, the giver signs, the receiver signs and submits."""

from node.light.discovery import Discovery
from node.light.headers import LightChain
from node.light.persons import Persons
from node.light.transact import Transactor, not_taken
from node.light.wallet import Offer, Wallet
from node.light.words import Cold
from node.ports import Clock, Entropy
from protocol import limits
from protocol.armour import CodeKind
from protocol.codec import HASH_BYTES
from protocol.control import GiveResult, MyGive, MyTake, MyTakeCode, TakeCodeResult, TakeResult, utc
from protocol.errors import Code, UserError
from protocol.giving import (
    TakeCode,
    VerifiedGift,
    check_usable,
    decode_gift,
    decode_take,
    encode_gift,
    encode_take,
    sign_consent,
    sign_gift,
    sign_taken,
    unusable,
    verify_take,
)
from protocol.grants import SealedKey, open_key
from protocol.keys import PublicKey, fingerprint
from protocol.messages.consensus import Submission
from protocol.transactions import transaction_id

TAKE_LIFE_MS = 30 * limits.DAY_MS
_NOBODY = PublicKey(b"")


class Giving:
    """Both sides of a gift."""

    def __init__(
        self,
        *,
        chain: LightChain,
        wallet: Wallet,
        persons: Persons,
        discovery: Discovery,
        transactor: Transactor,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._chain, self._wallet, self._discovery = chain, wallet, discovery
        self._transactor, self._clock, self._entropy = transactor, clock, entropy
        self._persons = persons

    def take_code(self, request: MyTakeCode) -> TakeCodeResult:
        """Keys to be given one record under. No clinic hears of them. Raises UserError REFUSED, no such
        person; LIMIT or NOT_INITIALISED, as the wallet does."""
        person = self._persons.named(request.person)
        not_after_ms = self._clock.wall_ms() + TAKE_LIFE_MS
        [offer] = self._wallet.offer([_NOBODY], not_after_ms, person.number)
        keys, network = self._wallet.fresh_keys(offer), self._chain.network
        consent = sign_consent(self._wallet.owner_key(offer), keys, not_after_ms, network)
        reference = self._persons.reference(person.number, keys.owner_key)
        return TakeCodeResult(
            code=encode_take(TakeCode(network, request.name, consent, reference)),
            fingerprint=fingerprint(keys.owner_key),
            not_after=utc(not_after_ms),
        )

    async def give(self, request: MyGive) -> GiveResult:
        """What would be given to whom; with the 24 words, the gift too.

        Raises:
            UserError: RECEIVE_CODE; REFUSED or AMBIGUOUS_ID for the record; USAGE, one's own code; WORDS.
        """
        code = decode_take(request.to)
        consent = verify_take(code)
        check_usable(CodeKind.TAKE, consent, code.network, self._chain.network, self._clock.wall_ms())
        if self._offer_of(consent.owner_key) is not None:
            raise UserError("this code is your own", "ask the receiver for one", code=Code.USAGE)
        await self._chain.require_fresh()
        await self._discovery.look_up([self._wallet.record(request.record)])
        record = self._wallet.record(request.record)
        held, text = self._wallet.open(record), ""
        if request.words is not None:
            gift = sign_gift(
                record.token,
                record.generation,
                held,
                to=code,
                reason=request.reason,
                owner=self._wallet.owner_key(record),
                next_key=Cold(request.words, self._wallet).next_key(record),
                entropy=self._entropy.bytes(HASH_BYTES),
            )
            text = encode_gift(gift)
        return GiveResult(
            gift=text,
            token=record.token.hex(),
            title=held.label.title,
            reason=request.reason,
            to_name=code.name,
            to_fingerprint=fingerprint(consent.owner_key),
            not_after=utc(consent.not_after_ms),
        )

    async def take(self, request: MyTake) -> TakeResult:
        """What would be taken; where the request says so, it is signed, and ours once that is final.

        Raises:
            UserError: RECEIVE_CODE; no clinic took it.
        """
        given = decode_gift(request.gift)
        check_usable(
            CodeKind.GIFT, given.consent, given.gift.network, self._chain.network, self._clock.wall_ms()
        )
        offer = self._offer_of(given.transfer.owner_key)
        if offer is None:
            raise unusable(CodeKind.GIFT, "this was taken already, or is for a code of another device")
        held = open_key(self._wallet.opening_key(offer), given.gift.sealed)
        if held is None:
            raise unusable(CodeKind.GIFT, "the record's key in this code does not open")
        is_final = request.is_signed and await self._submit(given, offer)
        return _taken(given, held, is_final=is_final)

    async def _submit(self, given: VerifiedGift, offer: Offer) -> bool:
        """Whether the transfer is shown to be final, and the record in the wallet."""
        await self._chain.require_fresh()
        raw = sign_taken(given.gift, self._wallet.owner_key(offer))
        if not await self._transactor.submit([Submission(raw, given.gift.sealed)]):
            raise not_taken()
        if not await self._transactor.wait_final([transaction_id(raw)]):
            return False
        await self._discovery.look_up([offer])
        return True

    def _offer_of(self, owner_key: PublicKey) -> Offer | None:
        offers = self._wallet.offers()
        return next((one for one in offers if self._wallet.owner_key(one).public == owner_key), None)


def _taken(given: VerifiedGift, held: SealedKey, *, is_final: bool) -> TakeResult:
    return TakeResult(
        token=given.transfer.token.hex(),
        title=held.label.title,
        media=held.label.type,
        size=held.label.size,
        reason=given.transfer.reason,
        final=is_final,
    )
