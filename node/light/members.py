"""The members as the ledger has them now: the genesis file knows only those who founded the network."""

import logging

import trio

from node.light.clinics import Clinics
from node.light.headers import FRESH_WAIT_S, PROTOCOL, RETRY_S, LightChain
from node.ports import Store, TaskStatus
from node.store import layout
from protocol import limits
from protocol.blocks import Genesis, Header, Member
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, Malformed, ProtocolError, UserError
from protocol.keys import PublicKey
from protocol.messages.light import RollReply, RollRequest
from protocol.roll import active_members, verify_roll
from protocol.state import MemberState

_log = logging.getLogger(__name__)


class KnownMembers(Wire, frozen=True):
    """The members that were proven last, after the final block of `height`."""

    height: int
    members: tuple[Member, ...]


def load_members(store: Store, genesis: Genesis) -> KnownMembers:
    """Those of an earlier run, or the founders."""
    raw = store.get(layout.members())
    if raw is None:
        return KnownMembers(0, genesis.members)
    return decode(KnownMembers, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)


class Members:
    """Keeps the list of `clinics`, and what is known of it in `store`, to what a clinic proves of the
    ledger. `known` are those to begin with."""

    def __init__(self, *, chain: LightChain, clinics: Clinics, store: Store, known: KnownMembers) -> None:
        self._chain, self._clinics, self._store = chain, clinics, store
        self._known = known

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Asks when the chain is fresh, when an epoch opens, and every while: until cancelled.

        A member that is admitted does not vote, so no header tells of it.
        """
        task_status.started()
        while True:
            await self._chain.wait_fresh()
            epoch = self._chain.committee.epoch
            if not await self.refresh():
                await self._chain.wait_advanced()
                continue
            with trio.move_on_after(limits.ROLL_S):
                while self._chain.committee.epoch == epoch:
                    await self._chain.wait_advanced()

    async def refresh(self) -> tuple[MemberState, ...]:
        """The active members as one clinic proves them against a recent header; none where no clinic does,
        and then what was known before stands."""
        for peer in self._clinics.reachable():
            # What one clinic cannot prove, another may.
            try:
                header, states = await ask_roll(peer, chain=self._chain, clinics=self._clinics)
                self._take(header, states)
                return tuple(one for one in states if one.is_active)
            except (ProtocolError, trio.TooSlowError) as error:
                _log.warning("%s did not prove who is a member: %s", peer.hex()[:12], error)
        return ()

    async def require(self) -> tuple[MemberState, ...]:
        """As `refresh`, again and again for a while.

        Raises:
            UserError: STALE, where no clinic proved it in that time.
        """
        with trio.move_on_after(FRESH_WAIT_S):
            while True:
                states = await self.refresh()
                if states:
                    return states
                # A clinic that is behind needs no block more than there are, only a moment.
                with trio.move_on_after(RETRY_S):
                    await self._chain.wait_advanced()
        raise unproven()

    def _take(self, header: Header, states: tuple[MemberState, ...]) -> None:
        """Raises Malformed: not of the present."""
        if not self._chain.is_recent(header):
            raise Malformed("a roll of the past")
        # Another answer that was on its way meanwhile may be the newer one.
        if header.height >= self._known.height:
            members = active_members(states)
            self._known = KnownMembers(header.height, members)
            self._store.write([(layout.members(), encode(self._known))])
            self._clinics.set_members(members)


def unproven() -> UserError:
    """No clinic proves what the members are now."""
    return UserError(
        "no clinic proves who is a member", "check the network, and try again", code=Code.STALE
    )


async def ask_roll(
    peer: PublicKey, *, chain: LightChain, clinics: Clinics
) -> tuple[Header, tuple[MemberState, ...]]:
    """The members after the block of a header that `chain` holds, as `peer` proves them.

    A clinic that is behind would leave out who was admitted since: so the roll is of no earlier height than
    `chain` had when it was asked.

    Raises:
        ProtocolError, trio.TooSlowError: it does not, or only of an earlier height, or of one whose header
            is not known here.
    """
    known = chain.height
    raw = await clinics.call(peer, PROTOCOL, encode(RollRequest()))
    if raw is None:
        raise Malformed("no answer")
    reply = decode(RollReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
    if reply.height < known:
        raise Malformed("a roll of an earlier height than was final here")
    with trio.fail_after(limits.REQUEST_S):
        await chain.wait_height(reply.height)
    header = chain.header(reply.height)
    if header is None:
        raise Malformed("a roll of a height whose header was left out")
    return header, verify_roll(header, reply.roll)
