"""Adding a record: checked against the patient's code, sealed as it comes in, copied, minted to her keys.

The content key lives as long as the request: it leaves sealed to the patient and is not kept here.
"""

from dataclasses import dataclass
from itertools import islice

import trio

from node.chain.ledger import Ledger
from node.chain.submissions import Submissions
from node.exchange import Exchange
from node.ports import Clock, Entropy, Offload
from node.records.holders import Holders, Pushed
from node.records.issued import IssuedRecord, IssuedRecords
from node.records.patients import Patients
from node.records.vault import Vault
from node.records.vault_import import Import
from protocol import limits
from protocol.blobs import KEY_BYTES, PIECE_BYTES, SALT_BYTES, Sealer
from protocol.blocks import block_hash
from protocol.codec import HASH_BYTES
from protocol.codes import ReceiveCode, VerifiedEnrolment, check_code, decode_code
from protocol.control import RecordAdd, RecordAdded, RecordAddResult
from protocol.errors import Code, Refused, Rejected, UserError
from protocol.grants import RecordLabel, SealedKey, seal_key
from protocol.keys import PublicKey, SigningKey
from protocol.persons import Reference
from protocol.records import SNIFF_BYTES_MAX, recognise
from protocol.transactions import (
    NONCE_BYTES,
    Content,
    Mint,
    TokenId,
    TransactionId,
    sealed_hash,
    sign_transaction,
    transaction_id,
)

RUN_BYTES = limits.RUN_CHUNKS * PIECE_BYTES
_ENTROPY_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A record in the vault, its key, and how it begins."""

    content: Content
    content_key: bytes
    first_bytes: bytes


@dataclass(frozen=True, slots=True)
class _Receiver:
    """Whose a record is to be: her consent, by what she is known here, this clinic's own name for her."""

    consent: VerifiedEnrolment
    reference: Reference
    patient: str

    @property
    def owner_key(self) -> PublicKey:
        return self.consent.terms.owner_key


class Issuer:
    """Answers `record add`. `key` is the clinic's identity key."""

    def __init__(
        self,
        *,
        key: SigningKey,
        ledger: Ledger,
        vault: Vault,
        holders: Holders,
        submissions: Submissions,
        issued: IssuedRecords,
        patients: Patients,
        clock: Clock,
        entropy: Entropy,
        offload: Offload,
    ) -> None:
        self._key, self._ledger, self._vault, self._holders = key, ledger, vault, holders
        self._submissions, self._issued, self._patients = submissions, issued, patients
        self._clock, self._entropy, self._offload = clock, entropy, offload
        self._reserved: set[PublicKey] = set()

    async def add(self, request: RecordAdd, exchange: Exchange) -> RecordAddResult:
        """Takes one record in. Cancelled before its mint was submitted, it leaves nothing here.

        Raises:
            UserError: DURATION, it cannot be kept so long; RECEIVE_CODE, the code cannot be used; USAGE,
                the title is not printable, the code is not that patient's, or the record cannot be amended;
                LIMIT, there is no room for the ciphertext.
            Refused: no record of this clinic's is the one to amend.
            Rejected: the ledger does not take the mint.
            StorageError: the disk is full or failed.
        """
        if not request.title.isprintable():
            raise UserError(
                "the title has characters that cannot be shown", "use plain text", code=Code.USAGE
            )
        self._check_retention(request)
        code = decode_code(request.code)
        consent = self._enrolment(code)
        owner_key = consent.terms.owner_key
        self._reserved.add(owner_key)
        try:
            named = await self._offload.run(lambda: self._named(request.patient, Reference(code.reference)))
            to = _Receiver(consent, Reference(code.reference), named)
            prior = b"" if request.prior is None else self._prior(request.prior, to)
            sealed = await self._seal(request, exchange)
            try:
                added = await self._issue(request, exchange, to, sealed, prior)
                return RecordAddResult(records=(added,))
            except BaseException:
                # Only a mint that was taken gives the blob an owner.
                if not self._issued.is_promised(owner_key):
                    with trio.CancelScope(shield=True):
                        await self._vault.delete(self._key.public, sealed.content.root)
                raise
        finally:
            self._reserved.discard(owner_key)

    def _check_retention(self, request: RecordAdd) -> None:
        """Raises UserError DURATION: a record cannot be kept until then."""
        if request.keep_until_ms is None:
            return
        ahead_ms = request.keep_until_ms - self._clock.wall_ms()
        # An import takes a while, and the label is made at its end.
        if not limits.DAY_MS <= ahead_ms <= limits.RETENTION_MS_MAX:
            years = limits.RETENTION_MS_MAX // (366 * limits.DAY_MS)
            raise UserError(
                "a record cannot be kept until then",
                f"name a day after tomorrow, and at most {years} years ahead",
                code=Code.DURATION,
            )

    def _named(self, patient: str, reference: Reference) -> str:
        """This clinic's name for whose code it is. Raises UserError USAGE where `patient` is another's."""
        if not patient:
            return self._patients.name_of(reference)
        self._patients.check(patient, reference)
        return patient

    def _enrolment(self, code: ReceiveCode) -> VerifiedEnrolment:
        """The first consent in a receive code that can still be used here and now."""

        def is_used(owner_key: PublicKey) -> bool:
            known = self._ledger.state.owner_key(owner_key) is not None
            return known or owner_key in self._reserved or self._issued.is_promised(owner_key)

        self._check_checkpoint(code)
        usable = check_code(
            code,
            network=self._ledger.state.network,
            clinic=self._key.public,
            now_ms=self._clock.wall_ms(),
            used=is_used,
        )
        return usable[0]

    def _prior(self, identity: str, to: _Receiver) -> TokenId:
        """The record to amend: one of this clinic's own, and of the same patient as far as it knows."""
        name = self._issued.find(identity)
        token, own = self._ledger.state.token(name), self._issued.get(name)
        if token is None or own is None:
            raise Refused
        if token.erased:
            raise UserError(
                "the record to amend was erased by its owner", "add the new one by itself", code=Code.USAGE
            )
        if own.patient != to.patient or (not to.patient and own.reference != to.reference):
            raise UserError(
                f"the record to amend is kept here under the name {own.patient or '(none)'}",
                "check the id, and give the same --patient",
                code=Code.USAGE,
            )
        return name

    def _check_checkpoint(self, code: ReceiveCode) -> None:
        """A patient whose device follows another chain than this clinic has been shown two."""
        known = self._ledger.header(code.checkpoint_height)
        if known is not None and block_hash(known) != code.checkpoint_hash:
            raise UserError(
                "this receive code names a final block that is not in this clinic's ledger",
                "one of the two was shown a false ledger: add nothing, and tell the network's members",
                code=Code.RECEIVE_CODE,
            )

    async def _seal(self, request: RecordAdd, exchange: Exchange) -> _Sealed:
        """Brings the content of the request into the vault. Memory is bounded by one run of chunks."""
        content_key, salt = self._entropy.bytes(KEY_BYTES), self._entropy.bytes(SALT_BYTES)
        sealer = Sealer(content_key, salt, request.size)
        arriving = self._vault.create(self._key.public, request.size)
        first_bytes, waiting, taken = b"", bytearray(), 0
        try:
            async for piece in exchange.read_data():
                first_bytes += piece[: SNIFF_BYTES_MAX - len(first_bytes)]
                waiting += piece
                taken += len(piece)
                if len(waiting) >= RUN_BYTES or taken == request.size:
                    run, waiting = bytes(waiting), bytearray()
                    await self._offload.run(lambda run=run: _seal_run(sealer, arriving, run))  # type: ignore[misc]
                    await exchange.progress("sealing", done=taken, total=request.size)
            content = sealer.finish()
            await self._offload.run(lambda: arriving.finish(content))
        finally:
            await self._vault.close(arriving)
        return _Sealed(content, content_key, first_bytes)

    async def _issue(
        self,
        request: RecordAdd,
        exchange: Exchange,
        to: _Receiver,
        sealed: _Sealed,
        prior: bytes,
    ) -> RecordAdded:
        """Copies the blob, mints the token and waits a while for it to become final."""
        await exchange.progress("copying to other clinics", unit="")
        pushed = await self._holders.push(sealed.content)
        label = self._label(request, sealed.first_bytes, prior)
        box = seal_key(
            SealedKey(sealed.content_key, label, to.reference),
            to=to.consent.terms.enc_key,
            entropy=self._entropy.bytes(_ENTROPY_BYTES),
        )
        mint = self._mint(to.consent, sealed.content, box)
        token = TokenId(transaction_id(mint))
        if to.patient:
            self._patients.enrol(to.patient, to.reference)
        own = IssuedRecord(label, to.patient, to.reference, pushed.holders)
        self._issued.put(token, to.owner_key, own)
        started_ms = self._clock.elapsed_ms()
        await self._submit(mint, box, token, to.owner_key)
        return self._added(request, label, token, pushed, self._clock.elapsed_ms() - started_ms)

    def _label(self, request: RecordAdd, first_bytes: bytes, prior: bytes) -> RecordLabel:
        kind = recognise(first_bytes, request.name).value if request.type == "auto" else request.type
        name = "".join(one if one.isprintable() and one not in "/\\" else "_" for one in request.name)
        name = "_" if name in (".", "..") else name
        title = request.title or name[: limits.TITLE_CHARS_MAX]
        now_ms = self._clock.wall_ms()
        return RecordLabel(title, kind, name, request.size, now_ms, prior, request.keep_until_ms or 0)

    def _mint(self, enrolment: VerifiedEnrolment, content: Content, box: bytes) -> bytes:
        terms = enrolment.terms
        body = Mint(
            nonce=self._entropy.bytes(NONCE_BYTES),
            issuer=self._key.public,
            owner_key=terms.owner_key,
            next_key_hash=terms.next_key_hash,
            enc_key=terms.enc_key,
            content=content,
            sealed_key_hash=sealed_hash(box),
            enrolment=enrolment.signed,
        )
        return sign_transaction(body, (self._key,), self._ledger.state.network)

    async def _submit(self, mint: bytes, box: bytes, token: TokenId, owner_key: PublicKey) -> None:
        """Returns when the mint is final, or after a while: taken, it becomes final sooner or later."""
        deadline = trio.current_time() + limits.FINAL_S
        try:
            # A client that leaves now must not leave it open whether the mint was taken.
            with trio.CancelScope(deadline=deadline, shield=True):
                await self._submissions.submit(mint, box, sender=self._key.public)
            with trio.move_on_at(deadline):
                await self._submissions.wait_final(TransactionId(token))
        except (Rejected, UserError):
            self._issued.drop(token, owner_key)
            raise

    def _added(
        self,
        request: RecordAdd,
        label: RecordLabel,
        token: TokenId,
        pushed: Pushed,
        final_ms: int,
    ) -> RecordAdded:
        position = self._ledger.position(TransactionId(token))
        return RecordAdded(
            file=request.name,
            token=token.hex(),
            size=request.size,
            type=label.type,
            copies=len(pushed.holders),
            final=position is not None,
            height=None if position is None else position[0],
            final_s=None if position is None else final_ms / 1000,
            holders=tuple(peer.hex() for peer in pushed.holders),
            missing=tuple(peer.hex() for peer in pushed.missing),
        )


def _seal_run(sealer: Sealer, arriving: Import, run: bytes) -> None:
    """Seals what a run of plaintext completes, and writes it: with the last, also much padding."""
    chunks = sealer.seal(run)
    while some := list(islice(chunks, limits.RUN_CHUNKS)):
        arriving.write(some, bytes(sealer.leaf_hashes[-HASH_BYTES * len(some) :]))
