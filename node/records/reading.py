"""Reading a record that a patient lets this clinic read.

Whether it may is not asked here: the request goes out, and whoever holds the ciphertext decides, this
clinic included.
"""

from collections.abc import Sequence
from typing import Final

from node.chain.ledger import Ledger
from node.exchange import Exchange
from node.ports import Clock, Store, Transport
from node.records.fetch_run import FetchAsk, FetchRefused, SeenRefusal
from node.records.fetching import Fetcher
from node.records.grants_inbox import GrantsInbox, HeldGrant
from node.records.holders import placed
from node.records.ids import find_token, whole_id
from node.records.study_parts import fetch_wanted
from node.records.vault import Vault
from protocol import limits
from protocol.control import RecordGet, RecordGetResult
from protocol.errors import Code, UserError
from protocol.grants import RecordLabel
from protocol.keys import PublicKey, SigningKey
from protocol.purposes import covers, is_purpose
from protocol.records import RecordType
from protocol.state import TokenState
from protocol.transactions import TokenId

MEDIA_TYPES: Final[dict[str, str]] = {
    RecordType.FHIR: "application/fhir+json",
    RecordType.DICOM: "application/dicom",
    RecordType.CDA: "application/xml",
    RecordType.PDF: "application/pdf",
}
_PROGRESS_BYTES: Final = 16 * limits.MIB


class Reader:
    """Answers `record get`. `key` is the clinic's identity key."""

    def __init__(
        self,
        *,
        key: SigningKey,
        transport: Transport,
        ledger: Ledger,
        store: Store,
        vault: Vault,
        fetcher: Fetcher,
        inbox: GrantsInbox,
        clock: Clock,
    ) -> None:
        self._key, self._transport, self._ledger, self._store = key, transport, ledger, store
        self._vault, self._fetcher, self._inbox, self._clock = vault, fetcher, inbox, clock

    async def get(self, request: RecordGet, exchange: Exchange) -> RecordGetResult:
        """Fetches one record, or a file of a study, and writes its plaintext to `exchange`. Each refusal is
        told as progress, with the hash of its bytes.

        Raises:
            FetchRefused: all that were asked refused, or there is no such record.
            Refused: no record's id begins like this. UserError: AMBIGUOUS_ID, PURPOSE or USAGE. Malformed:
                what its issuer made is no sound study.
            TransportError: nobody could be asked, or nobody had all of it.
        """
        if not is_purpose(request.purpose):
            raise UserError(
                f"{request.purpose} is not a purpose of use",
                "use a code of HL7 PurposeOfUse, such as TREAT",
                code=Code.PURPOSE,
            )
        if not request.user.isprintable():
            raise UserError("the user's name cannot be shown", "name the human who reads", code=Code.USAGE)
        await self._inbox.wait_searched()
        name = self._token_named(request.id)
        token = self._ledger.state.token(name)
        held = self._best_grant(name, request.purpose)
        opened = None if held is None else self._inbox.open(held)
        body = b"" if held is None else held.raw_body
        ask = FetchAsk(
            token=name,
            content=None if token is None else token.content,
            content_key=None if opened is None else opened.content_key,
            signer=self._key,
            grant_body=body if request.grant is None else bytes.fromhex(request.grant),
            purpose=request.purpose,
            user=request.user,
        )
        label = None if opened is None else opened.label
        return await self._fetch(ask, self._sources(token), request, label, exchange)

    async def _fetch(
        self,
        ask: FetchAsk,
        sources: Sequence[PublicKey],
        request: RecordGet,
        label: RecordLabel | None,
        exchange: Exchange,
    ) -> RecordGetResult:
        is_part = request.is_index or request.file is not None
        total = None if ask.content is None or is_part else ask.content.length
        written = told = request.earlier_bytes

        async def write(piece: bytes) -> None:
            nonlocal written, told
            await exchange.write_data(piece)
            written += len(piece)
            if written - told >= _PROGRESS_BYTES:
                told = written
                await exchange.progress("fetching", done=written, total=total)

        try:
            fetched = await fetch_wanted(
                self._fetcher,
                ask,
                sources,
                write,
                file=request.file,
                is_index=request.is_index,
                earlier=exchange.read_data() if request.earlier_bytes else None,
            )
        except FetchRefused as error:
            await self._tell(error.refusals, exchange)
            raise
        await self._tell(fetched.refusals, exchange)
        return RecordGetResult(
            token=ask.token.hex(),
            bytes=fetched.length,
            sha256=fetched.sha256.hex(),
            audit_id=str(fetched.audit_sequence),
            name=request.file or ("" if label is None else label.file_name),
            media="" if label is None or is_part else media_type(label),
            source=fetched.source.hex(),
        )

    async def _tell(self, refusals: Sequence[SeenRefusal], exchange: Exchange) -> None:
        for seen in refusals:
            name = self._ledger.membership.name_of(seen.member)
            await exchange.progress(f"refused by {name}: {seen.sha256.hex()}", unit="")

    def _token_named(self, text: str) -> TokenId:
        """A whole id is asked for whether or not it is known: its absence must look like a refusal."""
        whole = whole_id(text)
        return find_token(self._store, self._ledger.state, text) if whole is None else TokenId(whole)

    def _best_grant(self, token: TokenId, purpose: str) -> HeldGrant | None:
        """Of the grants held for a token, the one most likely to count for this purpose."""
        now_ms = self._clock.wall_ms()

        def worth(grant: HeldGrant) -> tuple[bool, bool, bool, int]:
            body = grant.body
            is_now = body.not_before_ms <= now_ms <= body.not_after_ms
            return self._inbox.is_live(grant), covers(body.purposes, purpose), is_now, body.not_after_ms

        return max(self._inbox.held_for(token), key=worth, default=None)

    def _sources(self, token: TokenState | None) -> list[PublicKey]:
        """Whom to ask, in order: this clinic where it has a copy, holders that are connected, the rest."""
        own = self._key.public
        if token is None:
            return self._connected_first([peer for peer in self._ledger.membership.keys if peer != own])
        copies = self._ledger.state.limits.holders
        others = [peer for peer in placed(token, self._ledger.membership.keys, copies) if peer != own]
        is_here = self._vault.holds(token.issuer, token.content.root)
        return [*([own] if is_here else []), *self._connected_first(others)]

    def _connected_first(self, peers: Sequence[PublicKey]) -> list[PublicKey]:
        connected = set(self._transport.connected())
        return sorted(peers, key=lambda peer: peer not in connected)


def media_type(label: RecordLabel) -> str:
    """The media type of a record, from its label alone."""
    if label.type == RecordType.FHIR and label.file_name.lower().endswith(".xml"):
        return "application/fhir+xml"
    return MEDIA_TYPES.get(label.type, "application/octet-stream")
