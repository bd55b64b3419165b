"""The clinics a light client asks: any of them will do, so one that fails is followed by the next."""

from collections.abc import Callable, Collection

import trio

from node.dialling import Dialling
from node.ports import Transport
from node.rpc import Caller
from protocol.blocks import Member
from protocol.errors import Code, Malformed, TransportError, UserError
from protocol.keys import PublicKey


class Clinics:
    """Requests to the clinics that are connected, in an order that keeps to one that works.

    `members` are those known so far: of the genesis file, or of an earlier run. `outsiders` are the names
    of clinics in the configuration that are proven to be no members.
    """

    def __init__(
        self, *, transport: Transport, members: tuple[Member, ...], reply_limit: int, dialling: Dialling
    ) -> None:
        self.members, self.outsiders = members, list[str]()
        self._transport, self._reply_limit, self._dialling = transport, reply_limit, dialling
        self._order = dialling.whom_to_ask(members, are_proven=False)
        transport.set_members(dialling.whom_to_dial(members, are_proven=False))
        self._callers: dict[str, Caller] = {}
        self._came = trio.Event()
        transport.on_connected(self._connected)

    def _connected(self, peer: PublicKey) -> None:
        self._came.set()
        self._came = trio.Event()

    def reachable(self) -> list[PublicKey]:
        """The connected clinics, the one that answered last first."""
        connected = set(self._transport.connected())
        return [peer for peer in self._order if peer in connected]

    async def wait_reachable(self, timeout_s: float) -> list[PublicKey]:
        """As `reachable`, after waiting for the first connection.

        Raises:
            UserError: STALE, where no clinic can be reached within `timeout_s`.
        """
        with trio.move_on_after(timeout_s):
            while not self.reachable():
                await self._came.wait()
        found = self.reachable()
        if not found:
            raise UserError(
                "no clinic can be reached",
                "check the network, and the clinics in the configuration",
                code=Code.STALE,
            )
        return found

    async def wait_connected(self, peer: PublicKey, timeout_s: float) -> None:
        """Returns when `peer` is connected, or after `timeout_s` without."""
        with trio.move_on_after(timeout_s):
            while peer not in self._transport.connected():
                await self._came.wait()

    async def wait_all(self, timeout_s: float) -> None:
        """Returns when every member is connected, or after `timeout_s` with those that are."""
        with trio.move_on_after(timeout_s):
            for peer in list(self._order):
                await self.wait_connected(peer, timeout_s)

    def keep_to(self, members: Collection[PublicKey]) -> None:
        """Asks no member but these: whoever is none any more is behind, and tells nothing new."""
        gone = {member.id_key for member in self.members} - set(members)
        self._order = [peer for peer in self._order if peer not in gone]

    def set_members(self, members: tuple[Member, ...]) -> None:
        """Replaces the members by those proven: connects to who is new and to no one who is none any
        more. Those that stay keep their turn."""
        keys = self._dialling.whom_to_ask(members, are_proven=True)
        stay = [key for key in self._order if key in keys]
        self.members, self.outsiders = members, self._dialling.outsiders(members)
        self._order = stay + [key for key in keys if key not in stay]
        self._transport.set_members(self._dialling.whom_to_dial(members, are_proven=True))

    def prefer(self, peer: PublicKey) -> None:
        if peer in self._order:
            self._order.remove(peer)
            self._order.insert(0, peer)

    def avoid(self, peer: PublicKey) -> None:
        """Asks this clinic last: it failed, or what it said did not verify."""
        if peer in self._order:
            self._order.remove(peer)
            self._order.append(peer)

    def caller(self, protocol: str) -> Caller:
        """The kept streams of one protocol."""
        if protocol not in self._callers:
            self._callers[protocol] = Caller(self._transport, protocol, reply_limit=self._reply_limit)
        return self._callers[protocol]

    async def call(
        self,
        peer: PublicKey,
        protocol: str,
        request: bytes,
        then: Callable[[bytes], bytes] | None = None,
    ) -> bytes | None:
        """The reply of one clinic (see `Caller.converse`), or None where it cannot be had."""
        try:
            return await self.caller(protocol).converse(peer, request, then)
        except (TransportError, Malformed):
            return None

    def named(self, name: str) -> Member:
        """The member called `name`, or whose id begins with it.

        Raises:
            UserError: USAGE: none fits. AMBIGUOUS_ID: more than one does.
        """
        fitting = [item for item in self.members if item.name == name]
        fitting = fitting or [item for item in self.members if item.id_key.hex().startswith(name.lower())]
        if len(fitting) > 1:
            candidates = ", ".join(f"{item.name} ({item.id_key.hex()[:12]})" for item in fitting)
            raise UserError(
                f"{name!r} fits more than one clinic: {candidates}",
                "give its name, or more of its id",
                code=Code.AMBIGUOUS_ID,
            )
        if not fitting:
            names = ", ".join(sorted(item.name for item in self.members))
            raise UserError(
                f"no clinic is called {name}", f"the network's clinics are: {names}", code=Code.USAGE
            )
        return fitting[0]

    def name_of(self, peer: bytes) -> str:
        """The name of a member for people, or its id."""
        return next((item.name for item in self.members if item.id_key == peer), peer.hex()[:12])
