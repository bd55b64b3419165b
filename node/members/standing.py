"""Whether this clinic is a member still: asked as a stranger, where no member serves it any more.

A clinic that was suspended or removed while it was away is let in nowhere, so nobody tells it. But what
light clients are shown, anyone is shown. So a clinic whose ledger is stale and does not move asks that door
under an identity of its own, verifies the way from its own newest block through all committees since, and
the roll at its end. Nobody's word counts, and no membership that ended comes back.
"""

import logging

import trio

from node.chain.exclusion import Ended
from node.chain.services import LedgerServices
from node.dialling import Dialling
from node.light.clinics import Clinics
from node.light.headers import LightChain
from node.light.members import ask_roll
from node.ports import Clock, TaskStatus
from node.store import layout
from node.store.memory import MemoryStore
from protocol import limits
from protocol.blocks import Header
from protocol.codec import encode
from protocol.errors import ProtocolError
from protocol.keys import PublicKey
from protocol.roll import active_members
from protocol.state import MemberState, Role
from protocol.two_chains import TwoChains

RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Standing:
    """Of the member with this `identity`. `visit` gives a way to the others by which nobody knows it."""

    def __init__(self, *, services: LedgerServices, identity: PublicKey, clock: Clock) -> None:
        self._services, self._ledger = services, services.ledger
        self._identity, self._clock, self._visit = identity, clock, services.ports.visit

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Asks whenever nothing becomes final here for a while, until cancelled."""
        task_status.started()
        while not self._services.exclusion.is_on:
            height = self._ledger.height
            with trio.move_on_after(limits.LOST_S):
                await self._ledger.wait_advanced()
            if self._ledger.height == height and self._is_lost():
                await self._ask()
                await trio.sleep(limits.LOST_AGAIN_S)
        await trio.sleep_forever()

    def _is_lost(self) -> bool:
        """Whether the ledger is stale, and has this clinic as a member: a newcomer is none there yet."""
        own = self._ledger.state.member(self._identity)
        age_ms = self._clock.wall_ms() - self._ledger.head.header.time_ms
        is_member = own is not None and own.is_active and not self._services.halt.is_on
        return is_member and age_ms > self._ledger.state.limits.max_stale_default_ms

    async def _ask(self) -> None:
        """As a light client would, from this ledger's newest block on."""
        visitor = self._visit()
        clinics = Clinics(
            transport=visitor,
            members=active_members(self._ledger.membership.members),
            reply_limit=limits.LIGHT_REPLY_BYTES_MAX,
            dialling=Dialling(),
        )
        chain = LightChain(
            genesis=self._ledger.genesis, store=self._seed(), clinics=clinics, clock=self._clock
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(visitor.run)
            await nursery.start(chain.run)
            with trio.move_on_after(limits.LOST_ASK_S):
                header, members = await self._proven(chain, clinics)
                self._judge(header, members)
            nursery.cancel_scope.cancel()
        if isinstance(chain.found, TwoChains):
            self._services.halt.take(chain.found)

    def _seed(self) -> MemoryStore:
        """What a light client would have kept that knows as much as this ledger."""
        store, head = MemoryStore(), self._ledger.head
        if head.finality is not None:
            roster = encode(self._ledger.state.roster)
            store.write([(layout.head(), encode(head)), (layout.roster(), roster)])
        return store

    async def _proven(self, chain: LightChain, clinics: Clinics) -> tuple[Header, tuple[MemberState, ...]]:
        """The first roll after this ledger's newest block that anyone proves."""
        while True:
            for peer in clinics.reachable():
                # What one clinic cannot prove, another may, and the same one when its headers are here.
                try:
                    return await ask_roll(peer, chain=chain, clinics=clinics)
                except (ProtocolError, trio.TooSlowError) as error:
                    _log.info("%s did not prove who is a member: %s", peer.hex()[:12], error)
            await trio.sleep(RETRY_S)

    def _judge(self, header: Header, members: tuple[MemberState, ...]) -> None:
        roles = {one.id_key: one.role for one in members}
        role = roles.get(self._identity, Role.REMOVED)
        if role >= Role.SUSPENDED:
            _log.critical("at height %d this clinic is no member any more: it has stopped", header.height)
            self._services.exclusion.keep(Ended(role, header.height, header.time_ms))
