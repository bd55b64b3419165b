"""The adversary: every few simulated seconds one act against the cluster, by dice, then a heal.

A mild one finds nothing: bugs of order and durability show only where crashes, cuts and delays come
densely. Acts undo themselves after a while or give way to the next one.
"""

import random
from collections.abc import Callable
from itertools import pairwise

import trio

from protocol.keys import PublicKey
from protocol.limits import DAY_MS
from tests.sim.changes import Changes
from tests.sim.links import Link
from tests.sim.nodes import Cluster, SimNode
from tests.sim.profile import Profile

Cuts = list[tuple[PublicKey, PublicKey]]

DOWN_MS = (100, 5_000)
SKEW_MS = 5_000
FUSE_WRITES = 12
STEP_MS_MAX = 10 * DAY_MS
STILL_MS = (1_000, 90_000)


class Nemesis:
    """One adversary of one cluster. `torment` runs it; `heal` ends all trouble.

    With `changes`, members come and go in the midst of it; those under way at the heal go on.
    """

    def __init__(self, cluster: Cluster, profile: Profile, changes: Changes | None = None) -> None:
        self._cluster, self._profile = cluster, profile
        self._dice = cluster.world.dice("nemesis")
        self._timeline = cluster.world.timeline
        self._ids = [node.identity for node in cluster.nodes]
        self._is_over = False
        self._unwell: set[SimNode] = set()
        acts: list[Callable[[], None]] = [
            self.crash,
            self.crash,
            self.crash_in_write,
            self.crash_in_write,
            self.partition,
            self.partition,
            self.flap,
            self.mend,
            self.lose,
            self.skew,
        ]
        if profile.all_down:
            acts.append(self.crash_all)
        if profile.swizzle:
            acts += [self.swizzle, self.swizzle]
        if profile.resets:
            acts.append(self.reset_streams)
        if profile.disk_fails:
            acts.append(self.fail_disk)
        if profile.clocks:
            acts += [self.step_clock, self.freeze]
        if profile.deaf:
            acts.append(self.drop_gossip)
        if changes is not None:
            acts += [changes.begin] * 4 + [changes.misuse]
        self._acts = acts

    async def torment(self, for_s: float) -> None:
        """Acts every few seconds for so long, then heals."""
        with trio.move_on_after(for_s):
            while True:
                await trio.sleep(self._dice.randint(*self._profile.act_every_ms) / 1000)
                act = self._dice.choice(self._acts)
                self._cluster.world.trace.note("act", "", "", act.__name__.encode())
                act()
        self.heal()

    def heal(self) -> None:
        """Every link open, every clock right, every node up; no act that is still due does anything."""
        self._is_over = True
        self._cluster.world.trace.note("act", "", "", b"heal")
        self._cluster.network.heal()
        for node in self._cluster.nodes:
            node.clock.offset_ms = 0
            node.clear_faults()
            node.start()

    # Acts on nodes.

    def crash(self) -> None:
        node = self._victim()
        if node is not None:
            node.crash()
            self._restart_later(node)

    def crash_all(self) -> None:
        for node in self._cluster.up():
            node.crash()
            self._restart_later(node)

    def crash_in_write(self) -> None:
        node = self._victim()
        if node is not None:
            writes, after = self._dice.randint(1, FUSE_WRITES), self._dice.random() < 0.5
            node.crash_in_write(writes, after=after, then=lambda: self._restart_later(node))

    def fail_disk(self) -> None:
        """The node should end by itself; if it only stops voting, it is restarted all the same."""
        node = self._victim()
        if node is not None:
            node.fail_disk(self._dice.randint(1, 40))
            self._timeline.after(self._dice.randint(*DOWN_MS), self._unless_over(node.crash))
            self._timeline.after(DOWN_MS[1] + 1, self._unless_over(node.start))

    def skew(self) -> None:
        self._dice.choice(self._cluster.nodes).clock.offset_ms = self._dice.randint(-SKEW_MS, SKEW_MS)

    def step_clock(self) -> None:
        """Sets one wall clock wrong by up to ten days: that node must neither vote nor serve."""
        node = self._victim()
        if node is not None:
            node.clock.step(self._dice.randint(-STEP_MS_MAX, STEP_MS_MAX))
            self._unwell.add(node)
            self._timeline.after(self._dice.randint(*STILL_MS), self._unless_over(self._set_right), node)

    def freeze(self) -> None:
        """Stops a node as SIGSTOP does, as far as others can tell: it hears and says nothing for a while,
        and then all at once."""
        node = self._victim()
        if node is not None:
            links = [self._cluster.network.link(*pair) for pair in self._pairs_of(node)]
            for link in links:
                link.clog()
            self._unwell.add(node)
            self._timeline.after(self._dice.randint(*STILL_MS), self._unless_over(self._thaw), node, links)

    # Acts on the network.

    def partition(self) -> None:
        self._cluster.network.set_cuts(self._dice.choice(SHAPES)(self._ids, self._dice))

    def flap(self) -> None:
        """One partition that comes and goes several times within a few seconds."""
        cuts = self._dice.choice(SHAPES)(self._ids, self._dice)
        at_ms = 0
        for turn in range(2 * self._dice.randint(2, 5)):
            wanted = [] if turn % 2 else cuts
            self._timeline.after(at_ms, self._unless_over(self._cluster.network.set_cuts), wanted)
            at_ms += self._dice.randint(50, 1_500)

    def mend(self) -> None:
        self._cluster.network.set_cuts(())

    def lose(self) -> None:
        self._cluster.network.weather.loss = self._dice.uniform(0, self._profile.loss_max)

    def reset_streams(self) -> None:
        self._cluster.network.weather.stream_reset = self._dice.choice((0.0, 0.02, 0.2))

    def drop_gossip(self) -> None:
        """From now on to the heal nothing travels by gossip."""
        self._cluster.network.weather.gossip = False

    def swizzle(self) -> None:
        """Clogs a random part of the links one by one, and unclogs them in another order."""
        network = self._cluster.network
        links = [(one, two) for one in self._ids for two in self._ids if one != two]
        chosen = self._dice.sample(links, self._dice.randint(1, len(links)))
        at_ms = 0
        for pair in chosen:
            at_ms += self._dice.randint(0, 300)
            self._timeline.after(at_ms, self._unless_over(network.link(*pair).clog))
        for pair in self._dice.sample(chosen, len(chosen)):
            at_ms += self._dice.randint(0, 500)
            self._timeline.after(at_ms, self._unless_over(network.link(*pair).unclog))

    # Inside.

    def _victim(self) -> SimNode | None:
        """A node that may go down now, if one may: of the validators about f at once."""
        well = [node for node in self._cluster.honest() if node.is_up and node not in self._unwell]
        voting = [node for node in well if node in self._cluster.validators]
        faulty = len(self._cluster.validators) - len(voting)
        if faulty >= self._cluster.faults and not self._profile.all_down:
            well = [node for node in well if node not in voting]
        return self._dice.choice(well) if well else None

    def _set_right(self, node: SimNode) -> None:
        node.clock.offset_ms = 0
        self._unwell.discard(node)

    def _thaw(self, node: SimNode, links: list[Link]) -> None:
        for link in links:
            link.unclog()
        self._unwell.discard(node)

    def _pairs_of(self, node: SimNode) -> Cuts:
        own = node.identity
        return [pair for one in self._ids if one != own for pair in ((own, one), (one, own))]

    def _restart_later(self, node: SimNode) -> None:
        self._timeline.after(self._dice.randint(*DOWN_MS), node.start)

    def _unless_over(self, act: Callable[..., None]) -> Callable[..., None]:
        def guarded(*arguments: object) -> None:
            if not self._is_over:
                act(*arguments)

        return guarded


# The shapes of a partition: the directions that are cut.


def halves(ids: list[PublicKey], dice: random.Random) -> Cuts:
    """Two groups that do not hear each other."""
    near = dice.sample(ids, dice.randint(1, len(ids) - 1))
    return [(one, two) for one in ids for two in ids if (one in near) != (two in near)]


def bridge(ids: list[PublicKey], dice: random.Random) -> Cuts:
    """Two groups that do not hear each other, and one node that both hear."""
    middle = dice.choice(ids)
    return [pair for pair in halves(ids, dice) if middle not in pair]


def one_way(ids: list[PublicKey], dice: random.Random) -> Cuts:
    """One group hears the other and is not heard."""
    mute = dice.sample(ids, dice.randint(1, len(ids) - 1))
    return [(one, two) for one in mute for two in ids if two not in mute]


def ring(ids: list[PublicKey], dice: random.Random) -> Cuts:
    """Everyone hears two neighbours only."""
    order = dice.sample(ids, len(ids))
    near = {frozenset(pair) for pair in pairwise([*order, order[0]])}
    return [(one, two) for one in ids for two in ids if one != two and frozenset((one, two)) not in near]


SHAPES: tuple[Callable[[list[PublicKey], random.Random], Cuts], ...] = (halves, bridge, one_way, ring)
