"""The ledger against a naive model that keeps every event and walks through all of them each time."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.blocks import Block, decode_block
from protocol.chain import genesis_header
from protocol.codec import encode
from protocol.errors import Rejected
from protocol.ledger import Overlay
from protocol.state import LedgerState, is_live
from protocol.statemap import StateMap
from protocol.transactions import TokenId
from tests.ledger_world import (
    CLINICS,
    CREATED_MS,
    GENESIS,
    GRANTS_MAX,
    START,
    STRANGER,
    Keys,
    Signed,
    audit_head,
    build,
    erase,
    execute,
    grant,
    grant_id,
    keys,
    mint,
    revoke,
    rotate,
    transfer,
)

POOL = 12
HOUR_MS = 3_600_000

numbers = st.integers(0, POOL - 1)
patients = st.sampled_from([0, 0, 1, 2, 3])
keep_lists = st.frozensets(st.integers(0, 3), max_size=3)
mostly = st.sampled_from([True] * 7 + [False])


@dataclass(frozen=True)
class Event:
    kind: str  # grant, tombstone, revoke, turn or erase
    number: int = 0
    keep: frozenset[int] = frozenset()


@dataclass
class Model:
    """One token as a list of what happened to it."""

    token: TokenId
    turns: list[int]  # which keys of the patient's are the owner's, by generation
    events: list[Event] = field(default_factory=list)

    @property
    def generation(self) -> int:
        return sum(event.kind in ("turn", "erase") for event in self.events)

    @property
    def erased(self) -> bool:
        return any(event.kind == "erase" for event in self.events)

    def registered_in(self, number: int) -> int | None:
        generation = 0
        for event in self.events:
            if event.kind == "grant" and event.number == number:
                return generation
            generation += event.kind in ("turn", "erase")
        return None

    def revoked(self, number: int) -> bool:
        return any(
            event.kind in ("revoke", "tombstone") and event.number == number for event in self.events
        )

    def keepable(self, number: int) -> bool:
        """Entered, and unrevoked in every keep list since."""
        there = revoked = False
        for event in self.events:
            mine = event.number == number
            there = there or (mine and event.kind in ("grant", "tombstone"))
            revoked = revoked or (mine and event.kind in ("revoke", "tombstone"))
            if event.kind == "turn":
                there = there and number in event.keep and not revoked
        return there

    def lives(self, number: int) -> bool:
        return self.keepable(number) and not self.revoked(number) and not self.erased

    def has_room(self) -> bool:
        count = 0
        for event in self.events:
            count = 0 if event.kind == "turn" else count + (event.kind in ("grant", "tombstone"))
        return count < GRANTS_MAX


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.header, self.state = genesis_header(GENESIS), START
        self.time_ms = CREATED_MS + 1
        self.waiting: list[Signed] = []
        self.accepted: list[Signed] = []
        self.blocks: list[Block] = []
        self.models: list[Model] = []
        self.used: set[tuple[int, int]] = set()
        self.heads: dict[int, tuple[int, int]] = {}
        self.overlay = self._open()

    def _open(self) -> Overlay:
        return Overlay(self.state, height=self.header.height + 1, time_ms=self.time_ms)

    def _apply(self, item: Signed, expected: bool) -> bool:
        if not expected:
            with pytest.raises(Rejected):
                self.overlay.apply(item.transaction)
            return False
        self.overlay.apply(item.transaction)
        self.waiting.append(item)
        self.accepted.append(item)
        return True

    def _pick(self, at: int) -> tuple[int, Model]:
        at %= len(self.models)
        return at, self.models[at]

    @initialize()
    def mint_two(self) -> None:
        self.mint(0, True, False)
        self.mint(1, True, False)

    @precondition(lambda self: len(self.models) < 4)
    @rule(clinic=st.integers(0, 4), fresh=mostly, expired=st.sampled_from([False] * 5 + [True]))
    def mint(self, clinic: int, fresh: bool, expired: bool) -> None:
        patient = len(self.models) if fresh else 0
        issuer = STRANGER if clinic == 4 else CLINICS[clinic]
        item = mint(patient, by=issuer, not_after_ms=self.time_ms - expired, nonce=len(self.accepted))
        expected = clinic != 4 and not expired and (patient, 0) not in self.used
        if self._apply(item, expected):
            self.used.add((patient, 0))
            self.models.append(Model(item.token, [0]))

    @rule(at=patients, number=numbers, back=st.sampled_from([0, 0, 0, 1]), own=mostly)
    def grant(self, at: int, number: int, back: int, own: bool) -> None:
        patient, model = self._pick(at)
        signer = model.turns[max(len(model.turns) - 1 - back, 0)]
        owner = keys(patient, signer).owner if own else STRANGER
        known = model.registered_in(number) is not None or model.revoked(number)
        expected = own and signer == model.turns[-1] and not known and model.has_room() and not model.erased
        if self._apply(grant(model.token, number, owner), expected):
            model.events.append(Event("grant", number))

    @rule(at=patients, number=numbers, signer=st.integers(0, 3), own=mostly)
    def revoke(self, at: int, number: int, signer: int, own: bool) -> None:
        patient, model = self._pick(at)
        generation = min(signer, len(model.turns) - 1)
        owner = keys(patient, model.turns[generation]).owner if own else STRANGER
        since = model.registered_in(number)
        expected = own and not model.erased and not model.revoked(number)
        if since is None:
            expected = expected and generation == model.generation and model.has_room()
        else:
            expected = expected and generation >= since
        if self._apply(revoke(model.token, number, owner), expected):
            model.events.append(Event("tombstone" if since is None else "revoke", number))

    @rule(
        at=patients,
        kind=st.sampled_from(["rotate"] * 4 + ["transfer"] * 3 + ["erase"]),
        off=st.sampled_from([0, 0, 0, 0, 1]),
        owner=mostly,
        cold=mostly,
        fresh=mostly,
        keep=keep_lists,
        known=st.booleans(),
    )
    def turn(
        self,
        at: int,
        kind: str,
        off: int,
        owner: bool,
        cold: bool,
        fresh: bool,
        keep: frozenset[int],
        known: bool,
    ) -> None:
        patient, model = self._pick(at)
        if known:
            keep = frozenset(number for number in keep if model.keepable(number))
        now = keys(patient, model.turns[-1])
        old = Keys(now.owner if owner else STRANGER, now.next if cold else now.owner, now.enc)
        index = len(model.turns) if fresh else 0
        generation = model.generation + off
        expected = not off and cold and not model.erased and (owner or kind == "rotate")
        if kind == "erase":
            if self._apply(erase(model.token, old, generation=generation), expected):
                model.events.append(Event("erase"))
            return
        new = keys(patient, index)
        make = rotate if kind == "rotate" else transfer
        keepable = all(model.keepable(number) for number in keep)
        expected = expected and keepable and (patient, index) not in self.used
        item = make(model.token, old, new, generation=generation, keep=keep)
        if self._apply(item, expected):
            model.events.append(Event("turn", keep=keep))
            model.turns.append(index)
            self.used.add((patient, index))

    @rule(clinic=st.integers(0, 4), step=st.sampled_from([-1, 0, 1, 1, 2]))
    def post_audit_head(self, clinic: int, step: int) -> None:
        sequence, time_ms = self.heads.get(clinic, (0, 0))
        named = max(sequence + step, 0)
        due = not sequence or self.time_ms - time_ms >= HOUR_MS
        signer = STRANGER if clinic == 4 else CLINICS[clinic]
        if self._apply(audit_head(signer, named), clinic != 4 and named > sequence and due):
            self.heads[clinic] = named, self.time_ms

    @rule(at=st.integers(0, 200))
    def replay(self, at: int) -> None:
        self._apply(self.accepted[at % len(self.accepted)], False)

    @rule(later_ms=st.sampled_from([1, 1_000, HOUR_MS]), junk=st.integers(0, 3))
    def close_block(self, later_ms: int, junk: int) -> None:
        stale = (
            [] if not self.blocks else self.accepted[: min(junk, len(self.accepted) - len(self.waiting))]
        )
        built = build(self.header, self.state, [*stale, *self.waiting], time_ms=self.time_ms)
        assert [name for name, _ in built.rejected] == [item.transaction.id for item in stale]
        result = execute(self.header, self.state, decode_block(encode(built.block)))
        assert result.state.entries.root == self.overlay.commit().entries.root
        self.header, self.state = built.block.header, result.state
        self.blocks.append(built.block)
        self.waiting.clear()
        self.time_ms += later_ms
        self.overlay = self._open()

    @invariant()
    def answers_agree(self) -> None:
        for patient, model in enumerate(self.models):
            token = self.overlay.token(model.token)
            assert token is not None
            assert (token.generation, token.erased) == (model.generation, model.erased)
            assert token.owner_key == keys(patient, model.turns[-1]).owner.public
            for number in range(POOL):
                found = self.overlay.grant(model.token, grant_id(number))
                alive = found is not None and is_live(found, token)
                assert alive == model.lives(number)

    def teardown(self) -> None:
        self.close_block(1, 0)
        header, state = genesis_header(GENESIS), START
        for block in self.blocks:
            state = execute(header, state, block).state
            header = block.header
        assert state.entries.root == self.state.entries.root
        loaded = LedgerState(state.network, state.limits, StateMap.from_sorted(state.entries.items()))
        assert loaded.entries.root == header.state_root
        assert not build(header, loaded, self.accepted).block.transactions


LedgerMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestLedger = LedgerMachine.TestCase
