"""Asking patients for records: the answers to `access ask`, and how what was asked is shown."""

import re
from collections.abc import Sequence

from node.chain.ledger import Ledger
from node.ports import Clock, Entropy, Store
from node.records.asked import Asked, AskedRequests
from node.records.grants_inbox import GrantsInbox
from node.records.ids import find_held_grant, find_known_token
from node.records.issued import IssuedRecords
from protocol import limits
from protocol.access_requests import (
    AccessRequest,
    RequestId,
    Standing,
    seal_request,
    sign_request,
    verify_request,
)
from protocol.codes import check_code, decode_code
from protocol.control import AccessAsk, AccessAskResult, RequestedItem, RequestItem, utc
from protocol.errors import Code, Malformed, Refused, UserError
from protocol.grants import SALT_BYTES
from protocol.keys import PublicKey, SealKey, SigningKey
from protocol.purposes import purpose_code
from protocol.transactions import GrantId, TokenId

_ENTROPY_BYTES = 32
_IS_ID = re.compile(r"[0-9a-f]{6,64}")
_NOTHING = GrantId(b"")
Addressee = tuple[PublicKey, SealKey]
"""The one-time keys of a patient: the one to ask, and the one to seal to."""


class Asking:
    """`key` is the clinic's identity key, `name` what the ledger calls it."""

    def __init__(
        self,
        *,
        key: SigningKey,
        name: str,
        asked: AskedRequests,
        ledger: Ledger,
        store: Store,
        inbox: GrantsInbox,
        issued: IssuedRecords,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._key, self._name, self._asked, self._ledger = key, name, asked, ledger
        self._store, self._inbox, self._issued = store, inbox, issued
        self._clock, self._entropy = clock, entropy

    async def ask(self, request: AccessAsk) -> AccessAskResult:
        """A request that waits here until the patient's device asks for it.

        Raises:
            UserError: RECEIVE_CODE, PURPOSE, DURATION, AMBIGUOUS_ID or LIMIT; USAGE, nobody is named, or
                what is asked for does not go together.
            Refused: no record or grant of this clinic's is called so.
        """
        await self._inbox.wait_searched()
        if request.renew is not None:
            return self._renew(request, find_held_grant(self._store, request.renew))
        if request.patient is None or not request.purposes:
            raise UserError(
                "nobody is asked, or for no purpose",
                "give --patient with a receive code or a record's id, and --purpose",
                code=Code.USAGE,
            )
        tokens = sorted({find_known_token(self._store, one) for one in request.tokens})
        purposes = tuple(sorted({purpose_code(one) for one in request.purposes}))
        return self._put(
            self._addressee(request.patient),
            request,
            kind="" if tokens else request.kind,
            tokens=tuple(tokens),
            purposes=purposes,
        )

    def show(self, name: RequestId) -> RequestItem:
        """One request of this clinic."""
        asked = self._asked.get(name)
        assert asked is not None, "asked for by a name that the table gave"
        return self._item(asked)

    def rows(self) -> tuple[RequestItem, ...]:
        """What was asked, the newest to lapse first."""
        asked = sorted(self._asked.all(), key=lambda one: (-one.request.not_after_ms, one.request_id))
        return tuple(map(self._item, asked))

    def _renew(self, request: AccessAsk, grant_id: GrantId) -> AccessAskResult:
        held = self._inbox.get(grant_id)
        return self._put(
            self._owner(held.token),
            request,
            kind="",
            tokens=(held.token,),
            purposes=held.body.purposes,
            renews=grant_id,
        )

    def _put(
        self,
        addressee: Addressee,
        request: AccessAsk,
        *,
        kind: str,
        tokens: tuple[TokenId, ...],
        purposes: Sequence[str],
        renews: GrantId = _NOTHING,
    ) -> AccessAskResult:
        to, seal_key = addressee
        network, network_limits = self._ledger.state.network, self._ledger.state.limits
        if request.for_ms > network_limits.grant_life_max_ms:
            days = network_limits.grant_life_max_ms // limits.DAY_MS
            raise UserError(
                "that is longer than this network lets a grant last",
                f"ask for at most {days} days; it can be renewed",
                code=Code.DURATION,
            )
        now_ms = self._clock.wall_ms()
        wanted = AccessRequest(
            to=to,
            asker=self._key.public,
            kind=kind,
            tokens=tokens,
            purposes=tuple(purposes),
            for_ms=request.for_ms,
            not_after_ms=now_ms + request.stands_ms,
            renews=renews,
            salt=self._entropy.bytes(SALT_BYTES),
        )
        try:
            signed = sign_request(wanted, self._key, network, network_limits)
        except Malformed as error:
            raise UserError(
                "this cannot be asked for", "name fewer records, and no override", code=Code.USAGE
            ) from error
        verified = verify_request(
            signed,
            network=network,
            network_limits=network_limits,
            to=to,
            server=self._key.public,
            now_ms=now_ms,
        )
        sealed = seal_request(signed, to=seal_key, entropy=self._entropy.bytes(_ENTROPY_BYTES))
        return AccessAskResult(request=self._item(self._asked.put(verified, sealed)))

    def _addressee(self, patient: str) -> Addressee:
        """The keys of a receive code made for this clinic, or of the owner of a record it knows."""
        text = patient.strip()
        if _IS_ID.fullmatch(text.lower()):
            return self._owner(find_known_token(self._store, text.lower()))
        usable = check_code(
            decode_code(text),
            network=self._ledger.state.network,
            clinic=self._key.public,
            now_ms=self._clock.wall_ms(),
            used=self._has_moved,
        )
        return usable[0].terms.owner_key, usable[0].terms.enc_key

    def _owner(self, token_id: TokenId) -> Addressee:
        token = self._ledger.state.token(token_id)
        if token is None or token.erased:
            raise Refused
        return token.owner_key, token.enc_key

    def _has_moved(self, owner_key: PublicKey) -> bool:
        """Whether nobody looks at this key any more: its token has another owner key now, or is erased."""
        held = self._ledger.state.owner_key(owner_key)
        token = None if held is None else self._ledger.state.token(held.token)
        return token is not None and (token.erased or token.owner_key != owner_key)

    def _item(self, asked: Asked) -> RequestItem:
        request, state = asked.request, asked.standing.name.lower()
        is_over = not self._asked.is_waiting(asked) or self._has_moved(request.to)
        if asked.standing is Standing.WAITING and is_over:
            state = "lapsed"
        return RequestItem(
            request=asked.request_id.hex(),
            asker=request.asker.hex(),
            asker_name=self._name,
            kind=request.kind,
            records=tuple(RequestedItem(token=one.hex(), title=self._title(one)) for one in request.tokens),
            purposes=request.purposes,
            for_s=request.for_ms // 1000,
            not_after=utc(request.not_after_ms),
            state=state,
            renews=request.renews.hex() or None,
        )

    def _title(self, token: TokenId) -> str:
        """What this clinic calls a record, where it can read it."""
        issued = self._issued.get(token)
        if issued is not None:
            return issued.label.title
        opened = (self._inbox.open(grant) for grant in self._inbox.held_for(token))
        return next((one.label.title for one in opened if one is not None), "")
