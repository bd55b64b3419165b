"""The rules of the ledger: what each transaction needs, and what it changes.

Transactions are applied one after the other to an `Overlay` of a state; the state itself never
changes. A transaction is refused or applied whole. Each one uses up what it rests on (a key, a grant
id, a generation, a sequence), so a replay is refused by the same rules and changes nothing.

What widens access needs the token's present owner key. What ends a generation needs the next key too,
which the token committed to before: the owner key alone, the one that lives on a phone, can neither
take a token nor keep its owner from taking it back.
"""

from msgspec.structs import replace

from protocol import limits
from protocol.codec import decode, encode
from protocol.errors import Rejected, Rejection
from protocol.keys import PublicKey
from protocol.membership import Admit, MembershipBody, Promote, Remove, RotateVoteKey, Suspend
from protocol.roster import Place, membership_changes
from protocol.state import (
    NO_HISTORY,
    E,
    Entry,
    GrantState,
    LedgerState,
    Lookups,
    MemberState,
    OwnerKeyState,
    TokenState,
    grant_entry_key,
    member_entry_key,
    next_history,
    owner_key_entry_key,
    token_entry_key,
)
from protocol.transactions import (
    AuditHead,
    Enrolment,
    Erase,
    Grant,
    GrantId,
    Mint,
    Revoke,
    Rotate,
    TokenId,
    Transfer,
    VerifiedTransaction,
    next_key_hash,
)

SealedRef = tuple[TokenId, bytes]
"""Detached sealed bytes: the token they belong to and their hash. The hash alone would let the owner
of any token register, and by revoking delete, bytes that another token needs."""

NO_SEALED = b""


def may_revoke(state: Lookups, body: Revoke, signer: PublicKey) -> bool | None:
    """Whether a Revoke signed by `signer` counts in `state`: from sight on, whatever the order.

    Any owner key since the grant may revoke it; a grant not registered yet, the present one only. None
    where `signer` is no owner key yet: keep the transaction and ask again after later blocks.
    """
    key = state.owner_key(signer)
    if key is None:
        return None
    token = state.token(body.token)
    if token is None or key.token != body.token:
        return False
    grant = state.grant(body.token, body.grant_id)
    return key.generation >= (token.generation if grant is None else grant.registered_generation)


class Overlay(Lookups):
    """A state with transactions applied on top, for a block of this height and time.

    `changes` holds the new value of every changed entry, by its key in the state map.

    Detached sealed bytes go when access ends. Grants are not enumerable here, so after storing the
    bytes of the block's own transactions a store deletes every one in `dropped_sealed`, and of each
    token in `kept_sealed` (its generation ended) all but the hashes named there.
    """

    __slots__ = ("_known", "changes", "dropped_sealed", "height", "kept_sealed", "state", "time_ms")

    def __init__(self, state: LedgerState, *, height: int, time_ms: int) -> None:
        self.state, self.height, self.time_ms = state, height, time_ms
        self.changes: dict[bytes, bytes] = {}
        self.dropped_sealed: set[SealedRef] = set()
        self.kept_sealed: dict[TokenId, set[bytes]] = {}
        self._known: dict[bytes, Entry | None] = {}

    def entry(self, kind: type[E], key: bytes) -> E | None:
        if key not in self._known:
            self._known[key] = self.state.entry(kind, key)
        return self._known[key]  # type: ignore[return-value]

    def commit(self) -> LedgerState:
        """The state after all that was applied."""
        state = self.state
        return LedgerState(state.network, state.limits, state.entries.update(self.changes))

    def apply(self, transaction: VerifiedTransaction) -> None:
        """Applies `transaction`.

        Raises:
            Rejected: with a `Rejection`; nothing has changed.
        """
        match transaction.body:
            case Mint() as body:
                self._mint(transaction, body)
            case Grant() as body:
                self._grant(transaction, body)
            case Revoke() as body:
                self._revoke(transaction, body)
            case Transfer() | Rotate() as body:
                self._change_keys(transaction, body)
            case Erase() as body:
                self._erase(transaction, body)
            case AuditHead() as body:
                self._post_audit_head(body)
            case Admit() | Promote() | Suspend() | Remove() | RotateVoteKey() as body:
                self._change_membership(transaction, body)

    # One method for each kind of transaction: first everything it needs, then what it changes.

    def _mint(self, transaction: VerifiedTransaction, body: Mint) -> None:
        self._active_member(body.issuer)
        enrolment = decode(Enrolment, body.enrolment.body, limit=limits.KIB)
        _require(enrolment.not_after_ms >= self.time_ms, Rejection.ENROLMENT_EXPIRED)
        self._check_new_keys(body)
        token_id = TokenId(transaction.id)
        token = TokenState(
            issuer=body.issuer,
            owner_key=body.owner_key,
            next_key_hash=body.next_key_hash,
            enc_key=body.enc_key,
            content=body.content,
            sealed_key_hash=body.sealed_key_hash,
            generation=0,
            grants=0,
            history=next_history(NO_HISTORY, transaction.id),
            erased=False,
            minted_height=self.height,
            height=self.height,
        )
        self._set(token_entry_key(token_id), token)
        self._set(owner_key_entry_key(body.owner_key), OwnerKeyState(token_id, 0))

    def _grant(self, transaction: VerifiedTransaction, body: Grant) -> None:
        token = self._live_token(body.token)
        _require(transaction.signers[0] == token.owner_key, Rejection.NOT_OWNER)
        key = grant_entry_key(body.token, body.grant_id)
        known = self.entry(GrantState, key)
        if known is not None:
            raise Rejected(Rejection.REVOKED if known.revoked else Rejection.ALREADY_GRANTED)
        self._check_quota(token)
        grant = GrantState(token.generation, token.generation, False, body.sealed_hash, self.height)
        self._set(key, grant)
        self._touch(transaction, body.token, token, grants=token.grants + 1)
        self._hold_sealed(body.token, body.sealed_hash)

    def _revoke(self, transaction: VerifiedTransaction, body: Revoke) -> None:
        token = self._live_token(body.token)
        _require(may_revoke(self, body, transaction.signers[0]) is True, Rejection.NOT_OWNER)
        key = grant_entry_key(body.token, body.grant_id)
        grant = self.entry(GrantState, key)
        if grant is None:
            self._check_quota(token)
            tombstone = GrantState(token.generation, token.generation, True, NO_SEALED, self.height)
            self._set(key, tombstone)
            self._touch(transaction, body.token, token, grants=token.grants + 1)
            return
        _require(not grant.revoked, Rejection.ALREADY_REVOKED)
        self._set(key, replace(grant, revoked=True, height=self.height))
        self._touch(transaction, body.token, token, grants=token.grants)
        # Whoever stole the owner key could else register the owner's own box as a grant's and end it.
        if grant.sealed_hash != token.sealed_key_hash:
            self._drop_sealed(body.token, grant.sealed_hash)

    def _change_keys(self, transaction: VerifiedTransaction, body: Transfer | Rotate) -> None:
        token = self._ending_generation(transaction, body)
        self._check_new_keys(body)
        kept = self._kept_grants(body, token)
        generation = token.generation + 1
        self._touch(
            transaction,
            body.token,
            token,
            owner_key=body.owner_key,
            next_key_hash=body.next_key_hash,
            enc_key=body.enc_key,
            sealed_key_hash=body.sealed_key_hash,
            generation=generation,
            grants=0,
        )
        self._set(owner_key_entry_key(body.owner_key), OwnerKeyState(body.token, generation))
        for grant_id, grant in kept.items():
            key = grant_entry_key(body.token, grant_id)
            self._set(key, replace(grant, generation=generation, height=self.height))
        stays = {body.sealed_key_hash, *(grant.sealed_hash for grant in kept.values())}
        self._end_sealed(body.token, token, stays)

    def _erase(self, transaction: VerifiedTransaction, body: Erase) -> None:
        token = self._ending_generation(transaction, body)
        self._touch(transaction, body.token, token, generation=token.generation + 1, grants=0, erased=True)
        self._end_sealed(body.token, token, set())

    def _post_audit_head(self, body: AuditHead) -> None:
        member = self._active_member(body.member)
        _require(body.sequence > member.audit_sequence, Rejection.AUDIT_SEQUENCE)
        # Without a head yet, there is no time to count from.
        due_ms = member.audit_time_ms + self.state.limits.audit_head_interval_ms
        _require(member.audit_sequence == 0 or self.time_ms >= due_ms, Rejection.AUDIT_TOO_SOON)
        posted = replace(
            member, audit_sequence=body.sequence, audit_head=body.head, audit_time_ms=self.time_ms
        )
        self._set(member_entry_key(body.member), posted)

    def _change_membership(self, transaction: VerifiedTransaction, body: MembershipBody) -> None:
        place = Place(self.state.roster.epoch, self.height, self.time_ms, self.state.limits)
        for key, entry in membership_changes(self, body, transaction.signers, place).items():
            self._set(key, entry)

    # What several of them need.

    def _active_member(self, id_key: PublicKey) -> MemberState:
        member = self.member(id_key)
        if member is None or not member.is_active:
            raise Rejected(Rejection.NOT_MEMBER)
        return member

    def _live_token(self, token_id: TokenId) -> TokenState:
        token = self.token(token_id)
        if token is None:
            raise Rejected(Rejection.UNKNOWN_TOKEN)
        _require(not token.erased, Rejection.ERASED)
        return token

    def _ending_generation(
        self, transaction: VerifiedTransaction, body: Transfer | Rotate | Erase
    ) -> TokenState:
        """The token whose generation `body` may end."""
        token = self._live_token(body.token)
        _require(body.generation == token.generation, Rejection.GENERATION)
        if not isinstance(body, Rotate):
            _require(transaction.signers[0] == token.owner_key, Rejection.NOT_OWNER)
        _require(next_key_hash(body.next_key) == token.next_key_hash, Rejection.NEXT_KEY)
        return token

    def _check_new_keys(self, body: Mint | Transfer | Rotate) -> None:
        _require(self.owner_key(body.owner_key) is None, Rejection.KEY_USED)
        # An owner key that is its own next key could take the token without the words.
        _require(next_key_hash(body.owner_key) != body.next_key_hash, Rejection.SAME_KEY)

    def _check_quota(self, token: TokenState) -> None:
        _require(token.grants < self.state.limits.grants_per_token_max, Rejection.GRANTS_FULL)

    def _kept_grants(self, body: Transfer | Rotate, token: TokenState) -> dict[GrantId, GrantState]:
        """The live grants of `keep`. One revoked in the meantime is passed over and stays revoked:
        else whoever stole the owner key could stall the rotation by revoking what it keeps."""
        kept: dict[GrantId, GrantState] = {}
        for grant_id in body.keep:
            grant = self.grant(body.token, grant_id)
            if grant is None or grant.generation != token.generation:
                raise Rejected(Rejection.KEEP)
            if not grant.revoked:
                kept[grant_id] = grant
        return kept

    def _touch(
        self, transaction: VerifiedTransaction, token_id: TokenId, token: TokenState, **fields: object
    ) -> None:
        history = next_history(token.history, transaction.id)
        self._set(token_entry_key(token_id), replace(token, history=history, height=self.height, **fields))

    def _set(self, key: bytes, entry: Entry) -> None:
        self._known[key] = entry
        self.changes[key] = encode(entry)

    # Sealed bytes.

    def _hold_sealed(self, token_id: TokenId, sealed_hash: bytes) -> None:
        self.dropped_sealed.discard((token_id, sealed_hash))
        if token_id in self.kept_sealed:
            self.kept_sealed[token_id].add(sealed_hash)

    def _drop_sealed(self, token_id: TokenId, sealed_hash: bytes) -> None:
        self.dropped_sealed.add((token_id, sealed_hash))
        if token_id in self.kept_sealed:
            self.kept_sealed[token_id].discard(sealed_hash)

    def _end_sealed(self, token_id: TokenId, token: TokenState, stays: set[bytes]) -> None:
        self._drop_sealed(token_id, token.sealed_key_hash)
        self.kept_sealed[token_id] = stays
        self.dropped_sealed.difference_update((token_id, item) for item in stays)


def _require(condition: bool, rejection: Rejection) -> None:
    if not condition:
        raise Rejected(rejection)
