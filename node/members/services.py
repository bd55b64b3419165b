"""A clinic's part in the membership wired together, beside its part in the ledger, over the ports."""

import trio

from node.chain.services import LedgerServices
from node.members.accusations import Accusations
from node.members.changes import Changes
from node.members.invites import Invites
from node.members.standing import Standing
from node.ports import Ports, TaskStatus
from protocol import limits
from protocol.codec import encode
from protocol.evidence import Evidence
from protocol.keys import PublicKey, SigningKey
from protocol.membership import RotateVoteKey
from protocol.messages.members import Accusations as Accused
from protocol.messages.members import Changes as Waiting
from protocol.messages.members import Conflict, Hello, MembersMessage, decode_members
from protocol.transactions import sign_transaction

PROTOCOL = "members"
SAY_AGAIN_S = 10.0


class MemberServices:
    """Construct before the transport runs (no tasks start), then `run` beside `ledger_services`.

    `software` is what each member said that it runs, `last_seen_ms` when it was connected last, both
    since this node started.
    """

    def __init__(
        self, *, ports: Ports, ledger_services: LedgerServices, key: SigningKey, software: str
    ) -> None:
        self._transport, self._clock = ports.transport, ports.clock
        self._services, self.own_software, self._key = ledger_services, software, key
        self._ledger, store = ledger_services.ledger, ports.ledger_store
        self.suspensions = ledger_services.suspensions
        self.accusations = Accusations(store, self._owner_of)
        self.changes = Changes(
            ledger=self._ledger,
            store=store,
            key=key,
            clock=ports.clock,
            submit=self._submit,
            tell=lambda pending: self._tell_all(Waiting((pending,))),
        )
        self.invites = Invites(
            ledger=self._ledger,
            store=store,
            changes=self.changes,
            key=key,
            clock=ports.clock,
            entropy=ports.entropy,
        )
        self.software: dict[PublicKey, str] = {}
        self.last_seen_ms: dict[PublicKey, int] = {}
        self._transport.serve_datagrams(PROTOCOL, self._receive, limit=limits.MEMBERS_FRAME_BYTES_MAX)
        self._transport.on_connected(self._greet)
        self.suspensions.observe(self._transport.drop)
        self._transport.shut_out(self.suspensions)
        ledger_services.consensus.on_evidence(self.accuse)
        self._standing = Standing(services=ledger_services, identity=key.public, clock=ports.clock)
        self._halt = ledger_services.halt
        self._halt.observe(lambda found: self._tell_all(Conflict(found)))

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Says again what waits, submits what is ready, forgets what is over: until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._say_again)
            nursery.start_soon(self._standing.run)
            task_status.started()

    async def _follow(self) -> None:
        """After each block more may be ready: a committee changed, or another change was in the way."""
        while True:
            self.changes.settle()
            await self.changes.submit_ready()
            await self._ledger.wait_advanced()

    async def _say_again(self) -> None:
        """What was sent may be lost, and whoever approves may not have been a validator then."""
        while True:
            self._note_seen()
            for peer in self._members():
                self._say_what_waits(peer)
            await trio.sleep(SAY_AGAIN_S)

    def accuse(self, evidence: Evidence) -> None:
        """Keeps evidence that this node found itself, and passes it on."""
        if self.accusations.add(evidence):
            self._tell_all(Accused((evidence,)))

    async def rotate(self, vote_key: SigningKey) -> None:
        """Asks the network to count `vote_key` for this member. Durable when this returns.

        Raises:
            Rejected: the ledger does not take it, or not yet.
        """
        body = RotateVoteKey(self._key.public, vote_key.public)
        await self._submit(sign_transaction(body, (self._key, vote_key), self._ledger.state.network))

    # Inbound.

    async def _receive(self, peer: PublicKey, payload: bytes) -> None:
        self.last_seen_ms[peer] = self._clock.wall_ms()
        match decode_members(payload):
            case Hello(software):
                self.software[peer] = software
            case Waiting(changes):
                for pending in changes:
                    await self.changes.take(pending)
            case Accused(evidence):
                for item in evidence:
                    self.accuse(item)
            case Conflict(found):
                self._halt.take(found)

    # Outbound.

    def _greet(self, peer: PublicKey) -> None:
        self.last_seen_ms[peer] = self._clock.wall_ms()
        self._say(peer, Hello(self.own_software))
        self._say_what_waits(peer)
        accused = self.accusations.all()[: limits.MEMBERS_MAX]
        if accused:
            self._say(peer, Accused(tuple(accused)))

    def _say_what_waits(self, peer: PublicKey) -> None:
        """One message a change: together they could be over the frame's limit. A member that was behind
        may only now be where what stopped this node counts."""
        if self._halt.found is not None:
            self._say(peer, Conflict(self._halt.found))
        for pending, _ in self.changes.pool:
            self._say(peer, Waiting((pending,)))

    def _tell_all(self, message: MembersMessage) -> None:
        for peer in self._members():
            self._say(peer, message)

    def _say(self, peer: PublicKey, message: MembersMessage) -> None:
        raw = encode(message)
        # A proof of very many headers is too long for one frame: others find it themselves.
        if len(raw) <= limits.MEMBERS_FRAME_BYTES_MAX:
            self._transport.send(peer, PROTOCOL, raw)

    def _members(self) -> list[PublicKey]:
        """The other members that are connected."""
        members = {member.id_key for member in self._ledger.membership.members}
        return [peer for peer in self._transport.connected() if peer in members]

    def _note_seen(self) -> None:
        now_ms = self._clock.wall_ms()
        self.last_seen_ms.update((peer, now_ms) for peer in self._members())

    def _owner_of(self, vote_key: PublicKey) -> PublicKey | None:
        used = self._ledger.state.vote_key(vote_key)
        return None if used is None else used.member

    async def _submit(self, raw: bytes) -> None:
        await self._services.submissions.submit(raw, b"", sender=self._transport.identity)
