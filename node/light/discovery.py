"""Finding what one-time keys of ours were given, and what became of the records that are known."""

from node.light.lookups import Found, Lookups, Question
from node.light.wallet import Offer, OwnRecord, RecordState, Wallet
from protocol import limits
from protocol.ownership import KeyToken


class Discovery:
    """Turns open offers into records, and looks after the records there are, a few at a time."""

    def __init__(self, *, lookups: Lookups, wallet: Wallet) -> None:
        self._lookups, self._wallet = lookups, wallet

    async def scan(self) -> None:
        """Asks about all offers that are open, and the records that were not asked about for longest."""
        known = sorted(self._wallet.records(), key=lambda one: one.seen_height)
        await self.look_up([*self._wallet.offers(), *known[: limits.RECORDS_LOOKED_AFTER]])

    async def look_up(self, subjects: list[Offer | OwnRecord]) -> None:
        """What is proven of their keys joins the wallet."""
        questions = [
            Question(
                self._wallet.owner_key(one), one.knower or None if isinstance(one, Offer) else one.issuer
            )
            for one in subjects
        ]
        for subject, found in zip(subjects, await self._lookups.find(questions), strict=True):
            if found is not None and found.given is not None:
                self._wallet.put_record(record_of(subject, found, found.given))
            elif found is not None and isinstance(subject, Offer) and is_over(subject, found):
                self._wallet.drop_offer(subject)


def is_over(offer: Offer, found: Found) -> bool:
    """Whether the keys of `offer` own nothing after their last day: nothing can be given to them now."""
    return found.given is None and found.header.time_ms > offer.not_after_ms


def record_of(subject: Offer | OwnRecord, found: Found, given: KeyToken) -> OwnRecord:
    """The token that was given to the keys of `subject`, as it is proven."""
    token = given.state
    state = RecordState.ERASED if token.erased else RecordState.GONE
    kept = subject.sealed_key if isinstance(subject, OwnRecord) else b""
    return OwnRecord(
        token=given.token,
        device=subject.device,
        index=subject.index,
        generation=given.generation,
        issuer=token.issuer,
        content=token.content,
        sealed_key=found.sealed_key or kept,
        minted_height=token.minted_height,
        state=RecordState.OWNED if given.is_owner else state,
        seen_height=found.header.height,
    )
