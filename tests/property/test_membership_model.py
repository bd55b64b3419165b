"""Membership on the ledger against a naive model that keeps every change and walks through all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.blocks import Block, decode_block, quorum_of
from protocol.chain import genesis_header
from protocol.codec import encode
from protocol.keys import SigningKey
from protocol.limits import HOUR_MS
from protocol.membership import Promote, Remove, Suspend
from protocol.state import Role
from tests.ledger_world import CLINICS, CREATED_MS, GENESIS, START, VOTERS, Signed, build, execute, signing
from tests.unit.test_membership import admit, approved, rotation

FOUNDERS, EVERYONE, KEYS = 4, 6, 14
BLOCK = 2
clinics = st.integers(0, EVERYONE - 1)
late = st.sampled_from([0, 0, 0, 1])
mostly = st.sampled_from([True] * 7 + [False])
BECOMES = {
    "admit": Role.FOLLOWER,
    "promote": Role.VALIDATOR,
    "suspend": Role.SUSPENDED,
    "remove": Role.REMOVED,
}


def clinic(who: int) -> SigningKey:
    return CLINICS[who] if who < FOUNDERS else signing("model clinic", who)


def voter(key: int) -> SigningKey:
    return VOTERS[key] if key < FOUNDERS else signing("model voter", key)


@dataclass(frozen=True)
class Event:
    """One change in force: whose, of what kind, in the block of this height and time. A clinic comes with
    the vote key of its own number; `key` is the one that it changes to."""

    kind: str
    who: int
    height: int
    time_ms: int
    key: int = -1


class MembershipMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.header, self.state = genesis_header(GENESIS), START
        self.time_ms = CREATED_MS + 1
        self.waiting: list[Signed] = []
        self.accepted: list[Signed] = []
        self.blocks: list[Block] = []
        self.events: list[Event] = []

    # The model.

    def role(self, who: int) -> Role | None:
        role = Role.VALIDATOR if who < FOUNDERS else None
        for event in self.events:
            if event.who == who:
                role = BECOMES.get(event.kind, role)
        return role

    def seats(self, through: int | None = None) -> list[int]:
        """Who votes, in the order of the seats, by the changes up to the block of height `through`."""
        seats = list(range(FOUNDERS))
        for event in self.events:
            if through is not None and event.height > through:
                break
            if event.kind == "promote":
                seats.append(event.who)
            elif event.kind in ("suspend", "remove") and event.who in seats:
                seats.remove(event.who)
        return seats

    def key(self, who: int) -> int:
        return next(
            (one.key for one in reversed(self.events) if (one.who, one.kind) == (who, "rotate")), who
        )

    def is_used(self, key: int) -> bool:
        return key < FOUNDERS or any(
            (event.kind, event.who) == ("admit", key) or event.key == key for event in self.events
        )

    def closing_heights(self) -> list[int]:
        """The heights of the blocks that changed who votes, or by which key."""
        heights, seats = set[int](), list(range(FOUNDERS))
        for event in self.events:
            votes = event.who in seats
            if event.kind == "promote" or (votes and event.kind in ("suspend", "remove", "rotate")):
                heights.add(event.height)
            if event.kind == "promote":
                seats.append(event.who)
            elif votes and event.kind in ("suspend", "remove"):
                seats.remove(event.who)
        return sorted(heights)

    # Changes.

    @rule(who=clinics, turn=clinics, enough=mostly, late_ms=late)
    def admit(self, who: int, turn: int, enough: bool, late_ms: int) -> None:
        by = self._approvers(turn, enough=enough)
        item = admit(clinic(who), voter(who), f"model {who}", by=by, not_after_ms=self.time_ms - late_ms)
        right = enough and not late_ms and who >= FOUNDERS
        self._apply(item, "admit", who, right and self.role(who) is None and not self.is_used(who))

    @rule(who=clinics, turn=clinics, enough=mostly, late_ms=late)
    def promote(self, who: int, turn: int, enough: bool, late_ms: int) -> None:
        body = Promote(clinic(who).public, self.time_ms - late_ms)
        right = self.role(who) == Role.FOLLOWER and not self._is_closing() and not late_ms
        self._apply(approved(body, self._approvers(turn, enough=enough)), "promote", who, enough and right)

    @rule(
        who=clinics, turn=clinics, enough=mostly, kind=st.sampled_from(["suspend", "remove"]), late_ms=late
    )
    def end(self, who: int, turn: int, enough: bool, kind: str, late_ms: int) -> None:
        key, until_ms, role = clinic(who).public, self.time_ms - late_ms, self.role(who)
        body = Suspend(key, "other", until_ms) if kind == "suspend" else Remove(key, until_ms)
        right = enough and not late_ms and role is not None and role < BECOMES[kind]
        if role == Role.VALIDATOR:
            right = right and len(self.seats()) > 1 and not self._is_closing()
        self._apply(approved(body, self._approvers(turn, enough=enough)), kind, who, right)

    @rule(who=clinics, key=st.integers(0, KEYS - 1))
    def rotate(self, who: int, key: int) -> None:
        role = self.role(who)
        times = [one.time_ms for one in self.events if (one.who, one.kind) == (who, "rotate")]
        right = role in (Role.FOLLOWER, Role.VALIDATOR) and not self.is_used(key)
        right = right and self.time_ms >= max(times, default=0) + GENESIS.limits.rotation_interval_ms
        if role == Role.VALIDATOR:
            right = right and not self._is_closing()
        self._apply(rotation(clinic(who), voter(key)), "rotate", who, right, key)

    @rule(at=st.integers(0, 200))
    def replay(self, at: int) -> None:
        if self.accepted:
            self._refused(self.accepted[at % len(self.accepted)])

    @rule(later_ms=st.sampled_from([1, 1_000, HOUR_MS]))
    def close_block(self, later_ms: int) -> None:
        built = build(self.header, self.state, self.waiting, time_ms=self.time_ms)
        assert built.block.transactions == tuple(item.transaction.raw for item in self.waiting)
        self.state = execute(self.header, self.state, decode_block(encode(built.block))).state
        self.header = built.block.header
        self.blocks.append(built.block)
        self.waiting.clear()
        self.time_ms += later_ms

    @invariant()
    def rosters_agree(self) -> None:
        """Of the newest final block, whose epoch is the number of those that closed one."""
        height, committee = self.header.height, self.state.committee
        seats = self.seats(height)
        assert committee.epoch == len([one for one in self.closing_heights() if one <= height])
        assert [seat.id_key for seat in self.state.roster.validators] == [
            clinic(who).public for who in seats
        ]
        if not self.waiting:
            assert committee.validators == tuple(voter(self.key(who)).public for who in seats)
            for who in range(EVERYONE):
                member = self.state.member(clinic(who).public)
                assert (None if member is None else member.role) == self.role(who)

    def teardown(self) -> None:
        self.close_block(1)
        self.rosters_agree()
        header, state = genesis_header(GENESIS), START
        for block in self.blocks:
            state = execute(header, state, block).state
            header = block.header
        assert state.entries.root == self.state.entries.root

    # Inside.

    def _approvers(self, turn: int, *, enough: bool) -> Sequence[SigningKey]:
        """A quorum of the validators from `turn` on, or one less and everyone who has no vote."""
        seats = self.seats()
        quorum = quorum_of(len(seats))
        order = [clinic(seats[(turn + at) % len(seats)]) for at in range(len(seats))]
        others = [clinic(who) for who in range(EVERYONE) if who not in seats]
        return order[:quorum] if enough else [*order[: quorum - 1], *others, signing("nobody")]

    def _is_closing(self) -> bool:
        return self.header.height + 1 in self.closing_heights()

    def _apply(self, item: Signed, kind: str, who: int, expected: bool, key: int = -1) -> None:
        if not expected:
            self._refused(item)
            return
        built = build(self.header, self.state, [*self.waiting, item], time_ms=self.time_ms)
        assert len(built.block.transactions) == len(self.waiting) + 1, built.rejected
        self.waiting.append(item)
        self.accepted.append(item)
        self.events.append(Event(kind, who, self.header.height + 1, self.time_ms, key))
        if len(self.waiting) == BLOCK:
            self.close_block(1)

    def _refused(self, item: Signed) -> None:
        """Not in a block after what waits: for good, or until the next epoch is open."""
        built = build(self.header, self.state, [*self.waiting, item], time_ms=self.time_ms)
        assert len(built.block.transactions) == len(self.waiting)


MembershipMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestMembership = MembershipMachine.TestCase
