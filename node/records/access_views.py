"""What patients allow this clinic to read: the answers to `access list` and `access show`."""

from node.ports import Clock, Offload, Store
from node.records.grants_inbox import GrantsInbox, HeldGrant
from node.records.ids import find_held_grant
from protocol.control import (
    AccessList,
    AccessListResult,
    AccessShow,
    AccessShowResult,
    GrantItem,
    utc,
)


class AccessViews:
    """Rows about the grants that were given to this clinic."""

    def __init__(
        self, *, store: Store, inbox: GrantsInbox, name: str, clock: Clock, offload: Offload
    ) -> None:
        """`name` is this clinic's."""
        self._store, self._inbox, self._name = store, inbox, name
        self._clock, self._offload = clock, offload

    async def rows(self, request: AccessList) -> AccessListResult:
        """All grants ever given to this clinic, those that end first first; with `expiring_ms`, only
        those that can be used and end within it."""
        await self._inbox.wait_searched()
        return await self._offload.run(lambda: self._rows(request))

    async def show(self, request: AccessShow) -> AccessShowResult:
        """One grant with its body. Raises Refused: none is called so; UserError: AMBIGUOUS_ID."""
        await self._inbox.wait_searched()
        grant = self._inbox.get(find_held_grant(self._store, request.id))
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
        return AccessListResult(grants=tuple(self._item(grant) for grant in grants))

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
        )

    def _state(self, grant: HeldGrant) -> str:
        now_ms = self._clock.wall_ms()
        if not self._inbox.is_live(grant):
            return "ended"
        if now_ms > grant.body.not_after_ms:
            return "expired"
        return "pending" if now_ms < grant.body.not_before_ms else "live"
