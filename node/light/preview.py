"""Who could read what, now and at a time to come, judged by what is proven of each record."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import repeat

import trio

from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.members import ask_roll, unproven
from node.light.my import My
from node.light.proofs import Proofs
from node.light.sharing import Sharing
from node.light.wallet import OwnRecord, Wallet
from node.ports import Clock
from protocol import limits
from protocol.codec import encode
from protocol.control import MyPreview, MyPreviewResult, PreviewItem, PreviewVerdict, utc
from protocol.errors import Code, ProtocolError, UserError
from protocol.grants import decode_grant_body, grant_id
from protocol.preview import WHY_NOT, Given, Scene, Sight, promised, sights
from protocol.proofs import ABOUT_TOKEN
from protocol.purposes import OWNER_PURPOSE
from protocol.state import GrantState, MemberState, TokenState
from protocol.transactions import GrantId

_YES = PreviewVerdict(can_read=True)


class Preview:
    """Asks for proofs of what is so, adds what would be signed, and has `access.decide` judge both."""

    def __init__(
        self,
        *,
        chain: LightChain,
        clinics: Clinics,
        wallet: Wallet,
        proofs: Proofs,
        sharing: Sharing,
        my: My,
        clock: Clock,
    ) -> None:
        self._chain, self._clinics, self._wallet = chain, clinics, wallet
        self._proofs, self._sharing, self._my, self._clock = proofs, sharing, my, clock

    async def preview(self, request: MyPreview) -> MyPreviewResult:
        """Raises UserError: STALE, where no clinic proves how things are, and as sharing itself does."""
        await self._my.known()
        records = await self._chosen(request)
        share, grantee = request.share, None
        if share is not None:
            grantee = await self._my.reader(share.clinic, share.for_ms, share.purposes)
        members = await self._members()
        now_ms = self._clock.wall_ms()
        at_ms = None if request.in_ms is None else now_ms + request.in_ms
        rows: list[PreviewItem] = []
        for record in records:
            scene = await self._scene(record, members)
            if share is not None and grantee is not None:
                body = self._sharing.terms(record, grantee, share.for_ms, share.purposes)
                scene = replace(scene, given=(*scene.given, promised(body, scene.token)))
            rows += self._rows(record, scene, now_ms, at_ms)
        return MyPreviewResult(now=utc(now_ms), at=None if at_ms is None else utc(at_ms), rows=tuple(rows))

    async def _chosen(self, request: MyPreview) -> list[OwnRecord]:
        """The records asked for; without any, all that are shared."""
        if request.records:
            records = [self._wallet.record(prefix) for prefix in request.records]
            return list({record.token: record for record in records}.values())
        shared = {grant.token for grant in self._sharing.live()}
        records = [record for record in self._wallet.records() if record.token in shared]
        return records[: limits.KEEP_GRANTS_MAX]

    async def _scene(self, record: OwnRecord, members: tuple[MemberState, ...]) -> Scene:
        """What is proven of a record and of all that the patient has signed and not ended."""
        live = [grant for grant in self._sharing.live() if grant.token == record.token]
        token, entries = await self._proven(record, [grant.grant_id for grant in live])
        network_limits = self._chain.limits
        given = tuple(
            Given(decode_grant_body(grant.body, network_limits), entries.get(grant.grant_id))
            for grant in live
        )
        return Scene(self._chain.network, network_limits, record.token, token, members, given)

    def _rows(
        self, record: OwnRecord, scene: Scene, now_ms: int, at_ms: int | None
    ) -> Iterator[PreviewItem]:
        title = self._wallet.open(record).label.title
        then = repeat(None) if at_ms is None else map(_verdict, sights(scene, at_ms))
        for now, later in zip(sights(scene, now_ms), then, strict=False):
            given = now.given
            body = None if given is None else given.body
            yield PreviewItem(
                token=record.token.hex(),
                title=title,
                grant="" if given is None or given.is_new else grant_id(encode(given.body)).hex(),
                reader="" if body is None else body.grantee_key.hex(),
                reader_name="" if body is None else self._clinics.name_of(body.grantee_key),
                purposes=(OWNER_PURPOSE,) if body is None else body.purposes,
                not_after=None if body is None else utc(body.not_after_ms),
                is_new=given is not None and given.is_new,
                now=_verdict(now),
                then=later,
            )

    async def _proven(
        self, record: OwnRecord, names: Sequence[GrantId]
    ) -> tuple[TokenState, dict[GrantId, GrantState]]:
        """The record and those of its grants that are on the ledger, by proofs of now."""
        found: dict[GrantId, GrantState] = {}
        asked = [ABOUT_TOKEN, *names]
        token: TokenState | None = None
        for start in range(0, len(asked), limits.CLAIMS_MAX):
            shown = await self._proofs.standing(record, asked[start : start + limits.CLAIMS_MAX])
            for proven in shown.proven:
                token = proven.token or token
                if proven.grant is not None:
                    found[proven.claim.grant] = proven.grant
        if token is None:
            raise UserError(
                "the ledger does not know this record", "try again in a minute", code=Code.STALE
            )
        return token, found

    async def _members(self) -> tuple[MemberState, ...]:
        """Every member, suspended ones too, as one clinic proves them."""
        for peer in self._clinics.reachable():
            try:
                _, states = await ask_roll(peer, chain=self._chain, clinics=self._clinics)
                return states
            except (ProtocolError, trio.TooSlowError):
                continue
        raise unproven()


def _verdict(sight: Sight) -> PreviewVerdict:
    if sight.refusal is None:
        return _YES
    return PreviewVerdict(can_read=False, reason=sight.refusal.value, why=WHY_NOT[sight.refusal])
