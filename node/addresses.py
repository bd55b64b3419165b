"""Multiaddresses as people write them in a configuration: checked in shape before the network sees them."""

import ipaddress
import re
import socket
from typing import Final

from protocol.keys import ED25519, SEED_BYTES, PublicKey

_SHAPE: Final = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[^/]+)/tcp/(?P<port>[0-9]{1,5})(/p2p/(?P<peer>[0-9A-Za-z]+))?"
)
_PORT_MAX: Final = 65_535
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PEER_ID_PREFIX: Final = bytes.fromhex("2408011220")


def listen_problem(address: str) -> str:
    """What is wrong with an address to listen on, or an empty string. Port 0 lets the system choose."""
    match = _SHAPE.fullmatch(address)
    if match is None or not _is_host(match["kind"], match["host"]) or int(match["port"]) > _PORT_MAX:
        return f"{address!r} is not an address like /ip4/192.0.2.7/tcp/4001"
    if match["peer"] or match["kind"].startswith("dns"):
        return f"{address!r} must be an IP address and a port, no name and no peer"
    return ""


def listening_at(address: str) -> tuple[socket.AddressFamily, str, int]:
    """Family, host and port of an address in which `listen_problem` finds nothing wrong."""
    match = _SHAPE.fullmatch(address)
    assert match is not None
    family = socket.AF_INET6 if match["kind"] == "ip6" else socket.AF_INET
    return family, match["host"], int(match["port"])


def dial_problem(address: str) -> str:
    """What is wrong with an address to connect to, or an empty string."""
    match = _SHAPE.fullmatch(address)
    is_host = match is not None and _is_host(match["kind"], match["host"])
    if match is None or not is_host or not 1 <= int(match["port"]) <= _PORT_MAX:
        return f"{address!r} is not an address like /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…"
    return ""


def names_peer(address: str) -> bool:
    """Whether the address says which peer is to answer there."""
    match = _SHAPE.fullmatch(address)
    return match is not None and match["peer"] is not None


def without_peer(address: str) -> str:
    """The address alone, without the `/p2p/…` that may follow it."""
    return address.partition("/p2p/")[0]


def peer_key(address: str) -> PublicKey | None:
    """The identity key that the peer id of an address holds; None where it has none.

    An Ed25519 peer id is base58 of an identity multihash of the key in a protobuf.
    """
    match = _SHAPE.fullmatch(address)
    if match is None or match["peer"] is None:
        return None
    number = 0
    for character in match["peer"]:
        value = _BASE58.find(character)
        if value < 0:
            return None
        number = 58 * number + value
    raw = number.to_bytes(-(-number.bit_length() // 8), "big")
    # The multihash begins with a zero byte, which a number does not keep.
    is_ed25519 = len(raw) == len(_PEER_ID_PREFIX) + SEED_BYTES and raw.startswith(_PEER_ID_PREFIX)
    return PublicKey(bytes((ED25519,)) + raw[len(_PEER_ID_PREFIX) :]) if is_ed25519 else None


def _is_host(kind: str, host: str) -> bool:
    if kind.startswith("dns"):
        return True
    try:
        return ipaddress.ip_address(host).version == int(kind[-1])
    except ValueError:
        return False
