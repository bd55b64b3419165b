"""What attackers say: lines, frames and gossip made by hand, so that they can be wrong."""

from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.pubsub.pb import rpc_pb2

from protocol.keys import PublicKey

HELLO = b"/multistream/1.0.0"
SIGNING_PREFIX = b"libp2p-pubsub:"
PEER_ID_PREFIX = bytes.fromhex("002408011220")


def varint(number: int) -> bytes:
    encoded = b""
    while number > 0x7F:
        encoded += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return encoded + bytes((number,))


def line(text: bytes) -> bytes:
    """A line of protocol negotiation."""
    return varint(len(text) + 1) + text + b"\n"


def malformed_gossip() -> bytes:
    """An RPC that is no protobuf: 21 bytes that stop an unguarded host."""
    return varint(20) + b"\xff" * 20


def gossip_with_garbage_key(topic: str) -> bytes:
    """A message whose author is a hash, and whose key does not decode."""
    message = rpc_pb2.Message(
        from_id=bytes.fromhex("1220") + bytes(32), seqno=bytes(8), data=b"x", topicIDs=[topic]
    )
    message.signature, message.key = bytes(64), b"\xff\xfe\xfd"
    return _rpc(message)


def unsigned_gossip(topic: str, author: PublicKey) -> bytes:
    """A message in the name of a member, without a signature."""
    return _rpc(
        rpc_pb2.Message(
            from_id=PEER_ID_PREFIX + author[1:], seqno=bytes(8), data=b"forged", topicIDs=[topic]
        )
    )


def signed_gossip(topic: str, seed: bytes, data: bytes, *, number: int = 0) -> bytes:
    """A message as its author makes it: the member with the identity of `seed`."""
    identity = create_new_key_pair(seed)
    message = rpc_pb2.Message(
        from_id=PEER_ID_PREFIX + identity.public_key.to_bytes(),
        seqno=number.to_bytes(8, "big"),
        data=data,
        topicIDs=[topic],
    )
    message.signature = identity.private_key.sign(SIGNING_PREFIX + message.SerializeToString())
    message.key = identity.public_key.serialize()
    return _rpc(message)


def announcements(topic: str, names: int) -> bytes:
    """Says to have so many messages that nobody has."""
    rpc = rpc_pb2.RPC()
    wanted = rpc.control.ihave.add(topicID=topic)
    wanted.messageIDs.extend((b"%064x" % number) for number in range(names))
    octets: bytes = rpc.SerializeToString()
    return varint(len(octets)) + octets


def requests(names: int) -> bytes:
    """Asks for so many messages that nobody has."""
    rpc = rpc_pb2.RPC()
    rpc.control.iwant.add().messageIDs.extend((b"%064x" % number) for number in range(names))
    octets: bytes = rpc.SerializeToString()
    return varint(len(octets)) + octets


def subscription(topic: str) -> bytes:
    rpc = rpc_pb2.RPC()
    rpc.subscriptions.add(subscribe=True, topicid=topic)
    octets: bytes = rpc.SerializeToString()
    return varint(len(octets)) + octets


def gossip_in(octets: bytes) -> list[rpc_pb2.Message]:
    """The messages in what a node wrote on one stream of gossip."""
    messages: list[rpc_pb2.Message] = []
    while octets:
        length = shift = 0
        while octets[0] & 0x80:
            length, shift, octets = length | (octets[0] & 0x7F) << shift, shift + 7, octets[1:]
        length |= octets[0] << shift
        messages += rpc_pb2.RPC.FromString(octets[1 : 1 + length]).publish
        octets = octets[1 + length :]
    return messages


def fake_subscriptions(count: int) -> bytes:
    rpc = rpc_pb2.RPC()
    for number in range(count):
        rpc.subscriptions.add(subscribe=True, topicid=f"topic-{number}")
    octets: bytes = rpc.SerializeToString()
    return varint(len(octets)) + octets


def _rpc(message: rpc_pb2.Message) -> bytes:
    octets: bytes = rpc_pb2.RPC(publish=[message]).SerializeToString()
    return varint(len(octets)) + octets


BARE_BYTES = {
    "nothing": b"",
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: clinic\r\n\r\n",
    "0xff a thousand times": b"\xff" * 1000,
    "a truncated line": line(HELLO)[:7],
    "an endless number": b"\x80" * 64,
    "a line that is not UTF-8": line(HELLO) + line(b"\xff\xfe"),
    "64 KiB of zeros": bytes(65_536),
    "half a Noise handshake": line(HELLO) + line(b"/noise") + b"\x00\x20" + bytes(16),
    "a wrong Noise handshake": line(HELLO)
    + line(b"/noise")
    + b"\x00\x20"
    + bytes(32)
    + b"\x00\x60"
    + bytes(96),
}

PROPOSALS = {
    "nothing": b"",
    "not UTF-8": line(b"\xff\xfe"),
    "an empty line": line(b""),
    "a line of no length": varint(0),
    "NUL": line(b"\x00"),
    "an over-long line": line(b"a" * 4000),
    "an endless number": b"\x80" * 20,
    "a request for the list, again and again": line(b"ls") * 200,
    "0xff": b"\xff" * 200,
}

FRAMES = {
    "nothing": b"",
    "0xff": b"\xff" * 200,
    "a frame of 4 GiB": b"\xff\xff\xff\xff" + bytes(100),
    "half a frame": b"\x00\x00\x00\x40" + bytes(8),
    "zeros": bytes(5000),
}
