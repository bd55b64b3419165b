"""A bare py-libp2p stream between two processes, Noise over TCP: what limits every transfer of ours.

    python -P -m node.bench.raw_stream serve BYTES        prints its address, and serves until it is ended
    python -P -m node.bench.raw_stream fetch ADDRESS BYTES      prints the seconds that it took

The library as it comes, with none of our guards, and nothing is done with the bytes.
"""

import logging
import sys
import time
from typing import Final

import trio
from libp2p import new_host
from libp2p.abc import IHost, INetStream
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_ID
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr.multiaddr import Multiaddr

from node.bench.workload import seed
from protocol.limits import CHUNK_BYTES

PROTOCOL: Final = TProtocol("/chartmesh-bench/raw/1")
LOOPBACK: Final = Multiaddr("/ip4/127.0.0.1/tcp/0")


async def serve(count: int) -> None:
    """Writes `count` bytes to every stream, in writes of CHUNK_BYTES."""
    host, piece = _host("server"), bytes(CHUNK_BYTES)

    async def send(stream: INetStream) -> None:
        for start in range(0, count, CHUNK_BYTES):
            await stream.write(piece[: count - start])
        await stream.close()

    host.set_stream_handler(PROTOCOL, send)
    async with host.run([LOOPBACK]):
        print(host.get_addrs()[0], flush=True)
        await trio.sleep_forever()


async def fetch(address: str, count: int) -> None:
    """Reads `count` bytes from a new stream and says how long that took."""
    host, peer = _host("client"), info_from_p2p_addr(Multiaddr(address))
    async with host.run([]):
        await host.connect(peer)
        stream = await host.new_stream(peer.peer_id, [PROTOCOL])
        start_s, missing = time.perf_counter(), count
        while missing > 0:
            missing -= len(await stream.read(CHUNK_BYTES))
        print(time.perf_counter() - start_s, flush=True)
        await host.close()


def _host(name: str) -> IHost:
    identity = create_new_key_pair(seed(name))
    noise = NoiseTransport(identity, noise_privkey=create_noise_key_pair().private_key)
    return new_host(key_pair=identity, sec_opt={NOISE_ID: noise}, muxer_opt={TProtocol(YAMUX_ID): Yamux})


def main(arguments: list[str]) -> None:
    logging.disable()
    match arguments:
        case ["serve", count]:
            trio.run(serve, int(count))
        case ["fetch", address, count]:
            trio.run(fetch, address, int(count))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
