"""The door: which address may begin a handshake now. No clock, no tasks.

An address is all that is known of whoever has not yet proved an identity. Of IPv6 the first 64 bits count:
the rest is its holder's to choose.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final

from node.net.budget import Admission, Buckets, Place
from protocol import limits

TOO_OFTEN: Final = "it connects too often"
NO_PLACE: Final = "it begins more handshakes than it ends"
UNPROVED: Final = "it did not prove who it is"
CROWDED: Final = "it holds too many connections"
NETWORK_BITS: Final = 64


class Door:
    """Handshakes under way, and how fast each address may begin them.

    Addresses at which a member is expected may begin as many as they like, one after the other.
    """

    def __init__(self) -> None:
        self._admission = Admission(
            limits.HANDSHAKES_MAX,
            limits.HANDSHAKES_PER_ADDRESS_MAX,
            round(1000 * limits.HANDSHAKE_SAFE_S),
        )
        self._rates = Buckets(limits.HANDSHAKES_PER_ADDRESS_PER_S, limits.HANDSHAKES_PER_ADDRESS_BURST)
        self._expected: frozenset[str] = frozenset()

    @property
    def handshakes(self) -> int:
        return self._admission.taken

    def expect(self, hosts: Iterable[str]) -> None:
        """Members are at these addresses; names of hosts are not looked up."""
        self._expected = frozenset(map(place_of, hosts))

    def enter(self, host: str, now_ms: int, give_up: Callable[[], None]) -> Place | str:
        """A place to prove an identity at, or why there is none."""
        place = place_of(host)
        if place not in self._expected and not self._rates.take(place, now_ms):
            return TOO_OFTEN
        return self._admission.enter(place, now_ms, give_up) or NO_PLACE

    def leave(self, place: Place) -> None:
        self._admission.leave(place)

    def forget(self, now_ms: int) -> None:
        """Drops what is kept of addresses that did nothing for a while."""
        self._rates.forget_full(now_ms)


def place_of(host: str) -> str:
    """What counts as one address. A host name stands for itself."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        network = int(address) >> (128 - NETWORK_BITS) << (128 - NETWORK_BITS)
        return f"{IPv6Address(network)}/{NETWORK_BITS}"
    return str(address)
