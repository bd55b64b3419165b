"""How the libp2p host is put together, with every setting that matters said."""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from libp2p.abc import INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.host.ping import ID as PING_ID
from libp2p.network.config import ConnectionConfig, RetryConfig
from libp2p.peer.peerstore import PeerStore
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from libp2p.transport.tcp.tcp import TCP

from node.net.libp2p_guards import GuardedUpgrader, PlainSwarm, QuietHost, Report, install, peer_id
from node.net.libp2p_muxer import MuxerRules
from protocol import limits
from protocol.keys import PublicKey


def build_host(
    seed: bytes,
    own: PublicKey,
    *,
    connections_max: int,
    admit: Callable[[PublicKey], bool],
    rules: Callable[[PublicKey], MuxerRules],
    report: Report,
    open_stream: Callable[[PublicKey, TProtocol], Awaitable[INetStream]],
    answer_ping: Callable[[INetStream], Awaitable[None]],
) -> QuietHost:
    """A host that speaks Noise over TCP and Yamux over Noise, dials and listens only when told to.

    It is built from its parts: the library's own factory adds plaintext, TLS, mplex, address discovery and
    a resource manager with limits of its own.
    """
    install()
    identity = create_new_key_pair(seed)
    store = PeerStore()
    store.add_key_pair(peer_id(own), identity)
    noise = NoiseTransport(identity, noise_privkey=create_noise_key_pair().private_key)
    swarm = PlainSwarm(
        peer_id(own),
        store,
        GuardedUpgrader(
            {NOISE_ID: noise}, {TProtocol(YAMUX_ID): Yamux}, admit=admit, rules=rules, report=report
        ),
        transports=[TCP(dns_resolution_timeout=limits.CONNECT_S, dns_max_retries=1)],
        retry_config=RetryConfig(max_retries=0),
        connection_config=_connection_config(connections_max + limits.HANDSHAKES_MAX),
    )
    return QuietHost(
        open_stream=open_stream,
        network=swarm,
        enable_mDNS=False,
        enable_upnp=False,
        bootstrap=None,
        default_protocols=OrderedDict({PING_ID: answer_ping}),
        negotiate_timeout=math.ceil(limits.STREAM_OPEN_S),
        announce_addrs=[],
        disable_identify_address_discovery=True,
    )


def _connection_config(connections_max: int) -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=connections_max,
        min_connections=0,
        low_watermark=0,
        high_watermark=connections_max,
        max_connections_per_peer=2,
        inbound_upgrade_timeout=limits.CONNECT_S,
        outbound_upgrade_timeout=limits.CONNECT_S,
        dial_timeout=limits.CONNECT_S,
        inbound_stream_protocol_negotiation_timeout=limits.STREAM_OPEN_S,
        outbound_stream_protocol_negotiation_timeout=limits.STREAM_OPEN_S,
        enable_health_monitoring=False,  # the muxer looks after its connection
    )
