"""A clinic that asks to be admitted: it knows the network's genesis file, and is nobody there yet.

Members treat it as a stranger, so it does nothing but ask its inviter, again and again, whether enough of
them have approved. Then it becomes an ordinary clinic.
"""

import logging

import trio

from node.ports import TaskStatus, Transport
from node.rpc import Caller
from protocol import limits
from protocol.blocks import Genesis, SignedCard, decode_genesis, network_id
from protocol.codec import decode, encode
from protocol.errors import Code, Malformed, ProtocolError, TransportError, UserError
from protocol.invitations import Invitation, SignedInvitation, verify_invitation
from protocol.keys import SigningKey
from protocol.membership import accept_terms
from protocol.messages.light import (
    GenesisReply,
    GenesisRequest,
    JoinReply,
    JoinRequest,
    decode_join_reply,
)

PROTOCOL = "light"
ASK_AGAIN_S = 3.0
_log = logging.getLogger(__name__)


class Inviter:
    """The member that gave the invitation, as seen by who holds it."""

    def __init__(self, transport: Transport, invitation: Invitation) -> None:
        self._transport, self._invitation = transport, invitation
        self._caller = Caller(transport, PROTOCOL, reply_limit=limits.LIGHT_REPLY_BYTES_MAX)
        self._came = trio.Event()
        transport.on_connected(lambda peer: self._came.set())

    @property
    def is_connected(self) -> bool:
        return self._invitation.inviter in self._transport.connected()

    async def genesis(self) -> Genesis:
        """The network's genesis file, which the invitation names by its hash.

        Raises:
            UserError: UNREACHABLE, GENESIS: the inviter is not reached, or gave another file.
        """
        with trio.move_on_after(limits.REQUEST_S):
            while not self.is_connected:
                await self._came.wait()
                self._came = trio.Event()
        try:
            raw = await self._caller.call(self._invitation.inviter, encode(GenesisRequest()))
            reply = decode(GenesisReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
            genesis = decode_genesis(reply.genesis)
        except TransportError as error:
            raise UserError(
                f"the member that gave this invitation does not answer at {self._places()}",
                "ask it whether its node runs and can be reached there, then try again",
                code=Code.UNREACHABLE,
            ) from error
        except Malformed as error:
            raise _false_genesis() from error
        if network_id(genesis) != self._invitation.network:
            raise _false_genesis()
        return genesis

    async def ask(self, request: JoinRequest) -> JoinReply:
        """How far the request is. Raises TransportError, Malformed."""
        return decode_join_reply(await self._caller.call(self._invitation.inviter, encode(request)))

    def _places(self) -> str:
        return ", ".join(self._invitation.addresses)


class Applicant:
    """Asks until it is admitted. Construct, run the transport and this, cancel to stop.

    `reply` is what the inviter said last, None before it said anything.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        genesis: Genesis,
        signed: SignedInvitation,
        card: SignedCard,
        key: SigningKey,
    ) -> None:
        self.transport, self.genesis = transport, genesis
        self.network = network_id(genesis)
        self.invitation = verify_invitation(signed)
        self.inviter = Inviter(transport, self.invitation)
        self.reply: JoinReply | None = None
        self.admitted = trio.Event()
        self._heard = trio.Event()
        acceptance = accept_terms(genesis.terms_hash, key, self.network)
        self._request = JoinRequest(signed, card, acceptance)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Asks until it is admitted, then waits to be cancelled."""
        task_status.started()
        while not self.admitted.is_set():
            # Whatever the inviter does, the next answer may be better.
            try:
                self.reply = await self.inviter.ask(self._request)
                self._heard.set()
            except (TransportError, ProtocolError) as error:
                _log.info("asking to be admitted failed: %s", error)
            if self.reply is not None and self.reply.admitted:
                self.admitted.set()
                break
            await trio.sleep(ASK_AGAIN_S)
        await trio.sleep_forever()

    async def wait_heard(self) -> JoinReply | None:
        """What the inviter says, once it said something or limits.REQUEST_S have passed."""
        with trio.move_on_after(limits.REQUEST_S):
            await self._heard.wait()
        return self.reply

    async def drain(self) -> None:
        """Nothing runs for others here."""


def _false_genesis() -> UserError:
    return UserError(
        "the member that gave this invitation sent another genesis file than it names",
        "do not join: ask another member for an invitation",
        code=Code.GENESIS,
    )
