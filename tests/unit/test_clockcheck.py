"""What a node makes of the members' answers to what time it is."""

import pytest
import trio

from node.chain.clockcheck import ANSWER_MS, CHECK_S, ClockCheck
from node.ports import Stream, StreamHandler
from node.rpc import answer_frames
from node.store.memory import MemoryStore
from protocol import limits
from protocol.codec import encode
from protocol.keys import PublicKey
from protocol.messages.blocks import TimeReply, TimeRequest, decode_question
from tests.clinic_world import IDS
from tests.memory_net import MemoryTransport, Net
from tests.sim.entropy import SimEntropy
from tests.unit.test_ledger_store import Time, commit, open_ledger

OWN, *OTHERS = IDS
BOUND_MS = limits.NetworkLimits().tolerance_ms


class Members:
    """Three others. `apart_ms` is by how much the clock of each is ahead of the true time, `travel_ms` what
    passes before it answers; a node without an entry answers nothing."""

    def __init__(self, net: Net) -> None:
        self.time = Time()
        self.ledger = open_ledger(MemoryStore(), self.time)
        self.apart_ms: dict[PublicKey, int] = dict.fromkeys(OTHERS, 0)
        self.travel_ms = 0
        self.asked = 0
        self.check = ClockCheck(
            transport=MemoryTransport(net, OWN),
            clock=self.time.clock,
            entropy=SimEntropy("clock check"),
            ledger=self.ledger,
            on_verdict=lambda: None,
            heard_from=lambda peer, height: None,
        )
        self._true = Time()
        for member in OTHERS:
            MemoryTransport(net, member).serve("blocks", self._handler(member))

    def pass_by(self, ms: int, *, notices: bool = True) -> None:
        """So much time passes, which the clocks of the node miss unless it `notices`."""
        self._true.ms += ms
        self.time.ms += ms if notices else 0

    async def offset_ms(self) -> int | None:
        await self.check._check()
        return self.check.offset_ms

    def _handler(self, member: PublicKey) -> StreamHandler:
        async def answer(peer: PublicKey, frame: bytes) -> bytes:
            question = decode_question(frame)
            assert isinstance(question, TimeRequest)
            self.asked += 1
            if member not in self.apart_ms:
                await trio.sleep_forever()
            shown_ms = self._true.clock.wall_ms() + self.apart_ms[member]
            return encode(TimeReply(question.nonce, shown_ms, 0))

        async def handler(stream: Stream) -> None:
            await answer_frames(stream, answer, limit=limits.KIB)

        return handler


async def test_nothing_is_known_before_a_quorum_said_something(
    nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    members = Members(Net(nursery))
    members.apart_ms = {OTHERS[0]: 0}
    assert await members.offset_ms() is None
    assert not members.check.is_good
    members.apart_ms[OTHERS[1]] = 0
    assert await members.offset_ms() == 0
    assert members.check.is_good


@pytest.mark.parametrize("sign", [1, -1])
async def test_the_clock_is_good_up_to_the_bound(nursery: trio.Nursery, sign: int) -> None:
    members = Members(Net(nursery))
    for apart_ms, is_good in ((BOUND_MS, True), (BOUND_MS + 1, False), (0, True)):
        members.apart_ms = dict.fromkeys(OTHERS, sign * apart_ms)
        assert await members.offset_ms() == sign * apart_ms
        assert members.check.is_good is is_good


async def test_a_clock_that_is_set_shows_without_another_question(nursery: trio.Nursery) -> None:
    members = Members(Net(nursery))
    assert await members.offset_ms() == 0
    asked = members.asked
    for by_ms in (BOUND_MS, -BOUND_MS):
        members.time.clock.step(by_ms)
        assert (members.check.offset_ms, members.check.is_good) == (-by_ms, True)
        members.time.clock.step(by_ms // BOUND_MS)
        assert not members.check.is_good
        members.time.clock.step(-by_ms - by_ms // BOUND_MS)
        members.pass_by(86_400_000)
        assert (members.check.offset_ms, members.check.is_good) == (0, True)
    assert members.asked == asked


async def test_a_clock_that_was_set_wrong_does_not_speak_for_itself(
    nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    members = Members(Net(nursery))
    assert await members.offset_ms() == 0
    members.time.clock.step(3_600_000)
    # One that is right, one that sides with the wrong clock, and one that does not answer.
    members.apart_ms = {OTHERS[0]: 0, OTHERS[1]: 3_600_000}
    for _ in range(3):
        assert await members.offset_ms() == -3_600_000


@pytest.mark.parametrize(("late_ms", "counts"), [(0, True), (1, False)])
async def test_an_answer_that_came_late_has_no_say(
    nursery: trio.Nursery, late_ms: int, counts: bool
) -> None:
    """By the elapsed clock: that of trio does not count what a machine was suspended for."""
    net = Net(nursery)
    members = Members(net)
    members.apart_ms = {OTHERS[0]: 5_000, OTHERS[1]: 5_000}
    net.down.add(OTHERS[2])
    sent = 0

    def travel(server: PublicKey, frame: bytes) -> None:
        nonlocal sent
        sent += 1
        if sent == 2:
            members.time.ms += ANSWER_MS + late_ms

    net.on_sent = travel
    offset_ms = await members.offset_ms()
    assert (offset_ms is not None) is counts


async def test_a_final_block_from_the_future_has_the_clock_compared_at_once(
    nursery: trio.Nursery, autojump_clock: trio.abc.Clock
) -> None:
    members = Members(Net(nursery))
    await nursery.start(members.check.run)
    await trio.sleep(1)
    assert members.check.is_good
    # A machine that was paused and does not know it: both its clocks lack the same.
    members.pass_by(50_000, notices=False)
    await trio.sleep(CHECK_S / 2)
    assert members.check.is_good
    await commit(members.ledger, [], later_ms=50_000)
    await trio.sleep(1)
    assert members.check.offset_ms == 50_000
