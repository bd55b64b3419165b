"""What clinics ask this patient for, answered as she decides: `my requests`, `my approve`, `my decline`.

A clinic asks one person of the wallet, by keys that are hers: what is approved is hers alone.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from node.light.clinics import Clinics
from node.light.collecting import Collecting
from node.light.known_requests import Found, KnownRequests
from node.light.members import Members
from node.light.persons import Persons
from node.light.sharing import Sharing
from node.light.wallet import OwnGrant, OwnRecord, Wallet
from protocol import limits
from protocol.access_requests import Standing, is_asked, narrowed
from protocol.control import (
    MyApprove,
    MyDecline,
    MyRequestResult,
    MyRequestsResult,
    MyShareResult,
    RequestedItem,
    RequestItem,
    utc,
)
from protocol.errors import Code, UserError
from protocol.grants import RecordLabel


class Requests:
    """One method for each verb. `look` brings the wallet up to date with the ledger."""

    def __init__(
        self,
        *,
        clinics: Clinics,
        members: Members,
        wallet: Wallet,
        persons: Persons,
        sharing: Sharing,
        known: KnownRequests,
        collecting: Collecting,
        look: Callable[[], Awaitable[object]],
    ) -> None:
        self._clinics, self._members, self._wallet = clinics, members, wallet
        self._sharing, self._known, self._collecting = sharing, known, collecting
        self._look, self._persons = look, persons

    async def rows(self) -> MyRequestsResult:
        """Asks the clinics that can have asked; raises UserError STALE where none shows a fresh block."""
        await self._look()
        await self._members.refresh()
        unreached = await self._collecting.collect()
        found = sorted(
            self._known.all(), key=lambda one: (one.known.standing, one.request.not_after_ms, one.name)
        )
        return MyRequestsResult(
            requests=tuple(map(self._item, found)), unreached=tuple(peer.hex() for peer in unreached)
        )

    async def approve(self, request: MyApprove) -> MyShareResult:
        """Shares what was asked for, or less.

        Raises:
            UserError: REFUSED or AMBIGUOUS_ID for an id; USAGE, answered already, or more than was asked;
                DURATION; not taken by any clinic, or NOT_FINAL.
        """
        await self._look()
        await self._members.refresh()
        found = self._known.waiting(request.id)
        clinic = self._clinics.named(found.request.asker.hex())
        chosen = {self._wallet.record(one).token for one in request.records} or None
        tokens, for_ms = narrowed(
            found.request,
            [(one.token, label.type) for one, label in self._labelled(found)],
            for_ms=request.for_ms,
            chosen=chosen,
        )
        records = [one for one in self._wallet.records() if one.token in tokens]
        grants = list[OwnGrant]()
        try:
            for start in range(0, len(records), limits.KEEP_GRANTS_MAX):
                some = records[start : start + limits.KEEP_GRANTS_MAX]
                grants += await self._sharing.share(some, clinic, for_ms, found.request.purposes)
        except UserError as error:
            # What clinics have taken is shared, be it final or not.
            if error.code is Code.NOT_FINAL:
                await self._answer(found, Standing.APPROVED)
            raise
        told = await self._answer(found, Standing.APPROVED)
        return MyShareResult(grants=tuple(map(self._sharing.item, grants)), told=told)

    async def decline(self, request: MyDecline) -> MyRequestResult:
        """Tells the clinic no, and nothing else. Raises UserError, as `approve` does for the id."""
        found = self._known.waiting(request.id)
        await self._clinics.wait_reachable(limits.CONNECT_S)
        told = await self._answer(found, Standing.DECLINED)
        return MyRequestResult(request=self._item(self._known.find(found.name.hex())), told=told)

    async def _answer(self, found: Found, standing: Standing) -> bool:
        """Writes the answer down, then tells it: whether its clinic knows."""
        answered = Found(found.name, replace(found.known, standing=standing), found.request)
        self._known.put(found.name, answered.known)
        return await self._collecting.tell(answered)

    def _item(self, found: Found) -> RequestItem:
        request = found.request
        records = [
            RequestedItem(token=one.token.hex(), title=label.title)
            for one, label in self._labelled(found)
            if is_asked(request, one.token, label.type)
        ]
        return RequestItem(
            request=found.name.hex(),
            asker=request.asker.hex(),
            asker_name=self._clinics.name_of(request.asker),
            kind=request.kind,
            records=tuple(records),
            purposes=request.purposes,
            for_s=request.for_ms // 1000,
            not_after=utc(request.not_after_ms),
            state=Standing(found.known.standing).name.lower(),
            renews=request.renews.hex() or None,
        )

    def _labelled(self, found: Found) -> list[tuple[OwnRecord, RecordLabel]]:
        """The records of the person who was asked."""
        asked = self._persons.of_keys(found.known)
        opened = [(one, self._wallet.open(one)) for one in self._wallet.records()]
        return [
            (one, held.label)
            for one, held in opened
            if asked is not None and self._persons.of(one, held) == asked
        ]
