"""The chain of headers as a light client verifies it: from the genesis file, and on nobody's word."""

import logging
from collections.abc import Sequence

import trio

from node.chain.ledger import Head
from node.light.clinics import Clinics
from node.light.forks import keep_fork, load_fork
from node.ports import Clock, Store, TaskStatus
from node.store import layout
from protocol import limits
from protocol.blocks import Finality, Genesis, Header, block_hash, genesis_committee, network_id
from protocol.chain import genesis_header, verify_inclusion
from protocol.codec import decode, encode
from protocol.epochs import verify_opening
from protocol.errors import Code, Malformed, ProtocolError, RemoteProtocolError, UserError
from protocol.finality import verify_final
from protocol.keys import PublicKey
from protocol.messages.light import (
    HEADERS_MAX,
    WAIT_MS_MAX,
    HeadersReply,
    HeadersRequest,
    Located,
    RouteReply,
    RouteRequest,
)
from protocol.past_end import Fork, find_fork
from protocol.proofs import Route, verify_route
from protocol.state import RosterState, committee_of
from protocol.transactions import TransactionId, VerifiedTransaction, decode_transaction, verify_transaction
from protocol.two_chains import Shown, find_two_chains

PROTOCOL = "light"
RETRY_S = 0.5
FRESH_WAIT_S = 12.0
_log = logging.getLogger(__name__)


class LightChain:
    """Final headers, each verified by a quorum of the committee, and against the one before where that is
    known: after a time away the headers in between are left out, and only their epochs' ends verified.

    `committee` is that of the open epoch: once the newest header is shown to close its own, no key of
    that one adds another. `found` is why nothing is believed any more: two valid chains were shown here.
    """

    def __init__(self, *, genesis: Genesis, store: Store, clinics: Clinics, clock: Clock) -> None:
        self.limits = genesis.limits
        self.network = network_id(genesis)
        self._store, self._clinics, self._clock = store, clinics, clock
        self._advanced = trio.Event()
        raw = store.get(layout.head())
        origin = Head(genesis_header(genesis), None)
        self.head = origin if raw is None else decode(Head, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)
        self.found = load_fork(store)
        self.committee = genesis_committee(genesis)
        roster = store.get(layout.roster())
        if roster is not None:
            self.committee = committee_of(_roster(roster), self.network)

    @property
    def height(self) -> int:
        return self.head.header.height

    def age_ms(self) -> int:
        """The age of the newest final header known here, by its own time."""
        return max(0, self._clock.wall_ms() - self.head.header.time_ms)

    def header(self, height: int) -> Header | None:
        """A verified header, of a height up to the head's; None where it was left out."""
        raw = self._store.get(layout.header(height))
        return None if raw is None else decode(Header, raw, limit=limits.KIB)

    def is_fresh(self) -> bool:
        return self.found is None and self.is_recent(self.head.header)

    def is_recent(self, header: Header) -> bool:
        """Whether what is proven against this header may be taken for the present."""
        return self._clock.wall_ms() - header.time_ms < self.limits.max_stale_default_ms

    async def require_fresh(self) -> None:
        """Waits until the head is fresh.

        Raises:
            UserError: STALE, where no clinic shows a fresh final block.
        """
        await self._clinics.wait_reachable(FRESH_WAIT_S)
        with trio.move_on_after(FRESH_WAIT_S):
            await self.wait_fresh()
        if not self.is_fresh():
            raise UserError(
                "no clinic shows a fresh final block: too few members reach each other",
                "try again later; records already shared stay readable for a while",
                code=Code.STALE,
            )

    async def wait_fresh(self) -> None:
        """Returns once the head is fresh, however long that takes."""
        while not self.is_fresh():
            await self._advanced.wait()

    async def wait_height(self, height: int) -> None:
        """Returns once the header of `height` is verified here."""
        while self.height < height:
            await self._advanced.wait()

    async def wait_advanced(self) -> None:
        """Returns once there is a newer header than now."""
        await self._advanced.wait()

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows the chain from whichever clinic answers, until cancelled."""
        task_status.started()
        while self.found is None:
            asked = self._clinics.reachable()
            if not asked or not await self._step(asked[0]):
                await trio.sleep(RETRY_S)
        await trio.sleep_forever()

    async def verify_located(
        self, located: Located, name: TransactionId | None = None
    ) -> VerifiedTransaction:
        """The transaction of `located`, shown to be final by its path to a header verified here.

        Raises:
            ProtocolError: its path, its signatures or its id are not right.
        """
        if not 0 < located.height <= self.height + HEADERS_MAX:
            raise Malformed("the height is nowhere near what is final")
        with trio.fail_after(limits.REQUEST_S):
            await self.wait_height(located.height)
        header = self.header(located.height)
        transaction = verify_transaction(decode_transaction(located.raw), self.network)
        if header is None or block_hash(header) != located.block:
            raise Malformed("the transaction is in a block that is not of this chain")
        if name is not None and transaction.id != name:
            raise Malformed("another transaction than the one asked for")
        if not verify_inclusion(header, transaction.id, located.index, located.size, located.path):
            raise Malformed("the path does not lead to the header's transaction root")
        return transaction

    async def _step(self, peer: PublicKey) -> bool:
        """Asks one clinic for what comes next, and before that for the newest of all where what is known
        here is old: then the headers between are not asked for. Whether that went well."""
        return (self.is_fresh() or await self._leap(peer)) and await self._follow(peer)

    async def _leap(self, peer: PublicKey) -> bool:
        """Goes to the newest header that one clinic shows, by the ends of the epochs on the way.

        Keys of epochs that are over may have leaked, and make another way. So where others show one that
        cannot be of the same chain, none is taken.
        """
        try:
            route = await self._ask_route(peer)
            # One who knows nothing newer has not lied.
            if route is not None:
                await self._take_route(peer, route)
        except ProtocolError as error:
            _log.warning("%s showed no way to the newest header: %s", peer.hex()[:12], error)
            self._clinics.avoid(peer)
            return False
        return True

    async def _ask_route(self, peer: PublicKey) -> Route | None:
        """Raises Malformed: it does not answer."""
        raw = await self._clinics.call(peer, PROTOCOL, encode(RouteRequest(self.committee.epoch)))
        if raw is None:
            raise Malformed("no answer")
        return decode(RouteReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).route

    async def _take_route(self, peer: PublicKey, route: Route) -> None:
        """Raises ProtocolError: it does not verify, or is of another chain than what is known or shown."""
        rosters = verify_route(route, self.committee)
        if self.head.finality is not None:
            own = Route((), self.head.header, self.head.finality)
            self._refuse_fork(find_fork(own, route, self.committee))
        if route.header.height <= self.height:
            return
        if route.ends:
            await self._compare(route, peer)
        self._adopt([route.header], route.finality, rosters[-1] if rosters else None)

    async def _compare(self, route: Route, peer: PublicKey) -> None:
        """Looks at the ways that others than `peer` show, who may only be about to connect.

        Raises:
            RemoteProtocolError: one cannot be of the same chain.
        """
        shown: list[Route] = []

        async def ask(witness: PublicKey) -> None:
            # Who shows no way that verifies shows no other chain either.
            try:
                other = await self._ask_route(witness)
                if other is not None:
                    verify_route(other, self.committee)
                    shown.append(other)
            except ProtocolError:
                return

        await self._clinics.wait_all(limits.WITNESS_S)
        others = [one for one in self._clinics.reachable() if one != peer]
        with trio.move_on_after(limits.WITNESS_S):
            async with trio.open_nursery() as nursery:
                for witness in others[: limits.WITNESSES_MAX]:
                    nursery.start_soon(ask, witness)
        for other in shown:
            self._refuse_fork(find_fork(route, other, self.committee))

    async def _follow(self, peer: PublicKey) -> bool:
        """Asks one clinic for what comes next; whether that went well."""
        request = encode(HeadersRequest(self.height + 1, WAIT_MS_MAX))
        raw = await self._clinics.call(peer, PROTOCOL, request)
        if raw is None:
            self._clinics.avoid(peer)
            return False
        try:
            reply = decode(HeadersReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
            if reply.finality is None:
                # It waited, and had nothing newer: another may.
                self._clinics.avoid(peer)
                return not self.is_fresh()
            self._refuse_second_chain(Shown(reply.headers, reply.finality))
            roster = self._opened(reply)
            committee = self.committee if roster is None else committee_of(roster, self.network)
            verify_final(self.head.header, reply.headers, reply.finality, committee)
            closed = None if reply.closing is None else verify_opening(reply.headers[-1], reply.closing)
        except ProtocolError as error:
            _log.warning("%s sent headers that do not verify: %s", peer.hex()[:12], error)
            self._clinics.avoid(peer)
            return False
        self._adopt(reply.headers, reply.finality, closed or roster)
        if not self.is_fresh():
            # Far behind, one clinic that gives little at a time must not be the only one asked.
            self._clinics.avoid(peer)
        return True

    def _refuse_second_chain(self, other: Shown) -> None:
        """Stops for good where `other` is as final as the newest header, and of another chain.

        Raises:
            RemoteProtocolError: it is.
        """
        if self.head.finality is None:
            return
        own = Shown((self.head.header,), self.head.finality)
        self._refuse_fork(find_two_chains(own, other, self.committee))

    def _refuse_fork(self, found: Fork | None) -> None:
        """Stops for good where a fork was found.

        Raises:
            RemoteProtocolError: it was.
        """
        if found is not None:
            self.found = found
            keep_fork(self._store, found)
            raise RemoteProtocolError("a second chain that is final as well")

    def _opened(self, reply: HeadersReply) -> RosterState | None:
        """The roster that the headers' committee is in, where they open an epoch that is not known yet.

        Raises:
            RemoteProtocolError: the head is not shown to close its epoch.
        """
        if not reply.headers or reply.headers[0].epoch == self.committee.epoch:
            return None
        if reply.opening is None:
            raise RemoteProtocolError("headers of another epoch without what opens it")
        return verify_opening(self.head.header, reply.opening)

    def _adopt(self, headers: Sequence[Header], finality: Finality, roster: RosterState | None) -> None:
        head = Head(headers[-1], finality)
        puts = [(layout.header(header.height), encode(header)) for header in headers]
        if roster is not None:
            puts.append((layout.roster(), encode(roster)))
            self._enter(roster)
        self._store.write([*puts, (layout.head(), encode(head))])
        self.head = head
        self._advanced.set()
        self._advanced = trio.Event()

    def _enter(self, roster: RosterState) -> None:
        """The epoch of `roster` is open after the newest header."""
        self.committee = committee_of(roster, self.network)
        self._clinics.keep_to(roster.members)


def _roster(raw: bytes) -> RosterState:
    return decode(RosterState, raw, limit=limits.STATE_ENTRY_BYTES_MAX)
