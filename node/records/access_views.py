"""What patients allow this clinic to read, and what it asked for: `access list` and `access show`."""

from node.ports import Clock, Offload, Store
from node.records.asking import Asking
from node.records.grants_inbox import GrantsInbox, HeldGrant
from node.records.ids import find_held_or_asked
from node.store import layout
from protocol import limits
from protocol.access_requests import RequestId
from protocol.control import (
    AccessList,
    AccessListResult,
    AccessShow,
    AccessShowResult,
    GrantItem,
    utc,
)
from protocol.transactions import GrantId


class AccessViews:
    """Rows about the grants that were given to this clinic."""

    def __init__(
        self,
        *,
        store: Store,
        inbox: GrantsInbox,
        asking: Asking,
        name: str,
        clock: Clock,
        offload: Offload,
    ) -> None:
        """`name` is this clinic's."""
        self._store, self._inbox, self._name, self._asking = store, inbox, name, asking
        self._clock, self._offload = clock, offload

    async def rows(self, request: AccessList) -> AccessListResult:
        """All grants ever given to this clinic, those that end first first; with `expiring_ms`, only
        those that can be used and end within it."""
        await self._inbox.wait_searched()
        return await self._offload.run(lambda: self._rows(request))

    async def show(self, request: AccessShow) -> AccessShowResult:
        """One grant with its body, or one request. Raises Refused, or UserError AMBIGUOUS_ID."""
        await self._inbox.wait_searched()
        name = find_held_or_asked(self._store, request.id)
        if self._store.get(layout.held_grant(name)) is None:
            return AccessShowResult(request=self._asking.show(RequestId(name)))
        grant = self._inbox.get(GrantId(name))
        return AccessShowResult(grant=self._item(grant, body=grant.raw_body.hex()))

    def _rows(self, request: AccessList) -> AccessListResult:
        grants = sorted(self._inbox.held(), key=lambda grant: (grant.body.not_after_ms, grant.grant_id))
        if request.expiring_ms is not None:
            end_ms = self._clock.wall_ms() + request.expiring_ms
            grants = [
                grant
                for grant in grants
                if grant.body.not_after_ms <= end_ms and self._state(grant) in ("live", "pending")
            ]
            return AccessListResult(grants=tuple(map(self._item, grants)))
        return AccessListResult(grants=tuple(map(self._item, grants)), requests=self._asking.rows())

    def _item(self, grant: HeldGrant, *, body: str = "") -> GrantItem:
        opened = self._inbox.open(grant)
        terms = grant.body
        return GrantItem(
            grant=grant.grant_id.hex(),
            token=grant.token.hex(),
            grantee=terms.grantee_key.hex(),
            purposes=terms.purposes,
            not_after=utc(terms.not_after_ms),
            final=True,
            not_before=utc(terms.not_before_ms),
            state=self._state(grant),
            grantee_name=self._name,
            title="" if opened is None else opened.label.title,
            actions=terms.actions,
            max_stale_s=terms.max_stale_s,
            body=body,
            ends_soon=self._state(grant) == "live"
            and terms.not_after_ms <= self._clock.wall_ms() + limits.EXPIRING_MS,
        )

    def _state(self, grant: HeldGrant) -> str:
        now_ms = self._clock.wall_ms()
        if not self._inbox.is_live(grant):
            return "ended"
        if now_ms > grant.body.not_after_ms:
            return "expired"
        return "pending" if now_ms < grant.body.not_before_ms else "live"
