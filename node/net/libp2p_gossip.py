"""Gossip behind its guards: among members only, about known topics, on the connection that stays."""

from collections.abc import Callable
from typing import Final, cast
from weakref import WeakKeyDictionary

import trio
from libp2p.abc import INetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.stream_muxer.yamux.yamux import Yamux

from node.net.libp2p_guards import GOSSIP_RPC_BYTES_MAX, QuietHost, Report, identity_of, peer_id
from protocol import limits
from protocol.codec import digest
from protocol.errors import RemoteProtocolError
from protocol.keys import PublicKey

SEQUENCE_BYTES_MAX: Final = 8


class GuardedPubsub(Pubsub):
    """Gossip among members about known topics. A mistake here costs the peer its connection."""

    def __init__(
        self,
        host: QuietHost,
        router: GossipSub,
        *,
        topics: frozenset[str],
        is_member: Callable[[PublicKey], bool],
        may_speak: Callable[[PublicKey, int], bool],
        may_control: Callable[[PublicKey], bool],
        deliver: Callable[[str, PublicKey, bytes], None],
        report: Report,
        sequence: int,
    ) -> None:
        super().__init__(
            host,
            router,
            strict_signing=True,
            msg_id_constructor=message_id,
            max_inbound_rpc_size=GOSSIP_RPC_BYTES_MAX,
            seen_ttl=limits.GOSSIP_SEEN_S,
            max_subscriptions_per_rpc=2 * len(topics),
            max_subscriptions_per_peer=len(topics),
            allowed_topics=topics,
        )
        # Message numbers must grow over restarts; the library begins at the second of the start.
        self.counter = sequence
        self._topics = topics
        self._is_member = is_member
        self._may_speak = may_speak
        self._may_control = may_control
        self._deliver = deliver
        self._joining: dict[ID, trio.Lock] = {}
        self._writing: WeakKeyDictionary[INetStream, trio.Lock] = WeakKeyDictionary()
        self._report_mistake = report
        host.judge = self.judge

    async def stream_handler(self, stream: INetStream) -> None:
        peer = stream.muxed_conn.peer_id
        try:
            await super().stream_handler(stream)
        except Exception:
            self._handle_dead_peer(peer)
            raise

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        if msg_forwarder == self.my_id:
            await super().push_msg(msg_forwarder, msg)
            return
        forwarder = identity_of(msg_forwarder)
        if forwarder is None or not self._may_speak(forwarder, msg.ByteSize()):
            return
        if not self._is_wanted(msg):
            return
        try:
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:
            self._report_mistake(forwarder, error)
            return
        # The library marks as seen what proved its author, and drops the rest without a word.
        if not self._is_msg_seen(msg):
            self._report_mistake(forwarder, RemoteProtocolError("gossip that its author did not sign"))

    def judge(self, rpc: rpc_pb2.RPC, peer: ID) -> None:
        """Looks at all that a peer says at once, before the library does.

        Raises:
            RemoteProtocolError: that is too much beside its messages, which have a quota of their own.
        """
        key, control = identity_of(peer), rpc.control
        lists = (control.ihave, control.iwant, control.idontwant)
        names = sum(len(one.messageIDs) for kind in lists for one in kind)
        names += len(control.graft) + len(control.prune) + len(rpc.publish)
        is_beside = not rpc.publish or rpc.HasField("control") or bool(rpc.subscriptions)
        if names > limits.GOSSIP_NAMES_MAX or len(rpc.subscriptions) > 2 * len(self._topics):
            raise RemoteProtocolError("the peer floods gossip with names")
        if key is None or (is_beside and not self._may_control(key)):
            raise RemoteProtocolError("the peer floods gossip with requests")

    def join(self, member: PublicKey) -> None:
        """A connection with a member has come up: speaks on it."""
        if self.manager.is_running:
            self.manager.run_task(self._handle_new_peer_with_retry, peer_id(member))

    def renew(self, member: PublicKey) -> None:
        """One connection with a member is over: speaks on another, if there is one.

        The library keeps to the dead one's stream, silently, where the other came up before this one ended.
        """
        peer = peer_id(member)
        stream = self.peers.get(peer)
        if stream is not None and cast(Yamux, stream.muxed_conn).is_closed:
            self._handle_dead_peer(peer)

    async def write_msg(self, stream: INetStream, rpc_msg: rpc_pb2.RPC) -> bool:
        """Writes one message at a time. The library gives a new peer the recent ones beside those that go
        out meanwhile, and what is longer than a frame of the muxer would be mixed up."""
        async with self._writing.setdefault(stream, trio.Lock()):
            return await super().write_msg(stream, rpc_msg)

    async def handle_peer_queue(self) -> None:
        """Lets pass what the library says of new connections: `join` does, once they are in the book."""
        async with self.peer_receive_channel:
            self.event_handle_peer_queue_started.set()
            async for _ in self.peer_receive_channel:
                pass

    def _forget_all_subscriptions(self, peer_id: ID) -> None:
        """A member that is still connected has said what it wants on the connection that is left."""
        if not self._peer_is_connected(peer_id):
            super()._forget_all_subscriptions(peer_id)

    async def _handle_new_peer(self, peer_id: ID) -> None:
        # One at a time: the library would keep two streams and listen to one.
        async with self._joining.setdefault(peer_id, trio.Lock()):
            await super()._handle_new_peer(peer_id)

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Hands a message over at once; the library puts it in a queue of 32 and loses the rest."""
        author = identity_of(ID(publish_message.from_id))
        if author is not None:
            self._deliver(publish_message.topicIDs[0], author, publish_message.data)

    def _is_wanted(self, message: rpc_pb2.Message) -> bool:
        return (
            len(message.topicIDs) == 1
            and message.topicIDs[0] in self._topics
            and len(message.data) <= limits.GOSSIP_BYTES_MAX
            and len(message.seqno) <= SEQUENCE_BYTES_MAX
            and self._is_member_id(ID(message.from_id))
        )

    def _is_member_id(self, peer: ID) -> bool:
        key = identity_of(peer)
        return key is not None and self._is_member(key)


def message_id(message: rpc_pb2.Message) -> bytes:
    """The id of a gossip message: what it says and where, whoever says it."""
    topic = "\n".join(message.topicIDs).encode()
    return digest("gossip", len(topic).to_bytes(4, "big"), topic, message.data)


def build_router() -> GossipSub:
    """GossipSub 1.1 for a few dozen clinics. Adaptive gossip and spam protection slow a small mesh down."""
    return GossipSub(
        protocols=[PROTOCOL_ID_V11],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_initial_delay=0.1,
        heartbeat_interval=1,
        do_px=False,
        adaptive_gossip_enabled=False,
        spam_protection_enabled=False,
        eclipse_protection_enabled=False,
    )
