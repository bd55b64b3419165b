"""Addresses of the network, and the sockets that listen on them."""

import errno
from collections.abc import Sequence

import trio
from multiaddr.exceptions import Error as MultiaddrError
from multiaddr.multiaddr import Multiaddr

from protocol.errors import Code, UserError


def host_of(address: str) -> str:
    """The host of a connection's address, which begins `/ip4/HOST/` or the like."""
    return address.split("/")[2]


def parse_address(text: str) -> Multiaddr:
    """Raises UserError where `text` is not a multiaddr with a TCP port."""
    try:
        address = Multiaddr(text)
        address.value_for_protocol("tcp")
    except (MultiaddrError, ValueError) as error:
        raise UserError(
            f"not an address: {text}", "write it as /ip4/192.0.2.7/tcp/4001", code=Code.CONFIG
        ) from error
    return address


async def bind(addresses: Sequence[str]) -> list[trio.SocketListener]:
    """Sockets that listen on the multiaddrs. The library would share their ports with any other process.

    Raises:
        UserError: an address is wrong, not of this machine, or taken.
    """
    parsed = [parse_address(text) for text in addresses]
    listeners: list[trio.SocketListener] = []
    try:
        for address in parsed:
            listeners += await _bind_one(address)
    except UserError:
        for listener in listeners:
            await listener.aclose()
        raise
    return listeners


async def _bind_one(address: Multiaddr) -> Sequence[trio.SocketListener]:
    host = next(str(part) for _, part in address.items())
    try:
        return await trio.open_tcp_listeners(int(address.value_for_protocol("tcp") or 0), host=host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port in use: {address}",
                "stop the other process, or set another address under [network] listen",
                code=Code.PORT_IN_USE,
            ) from error
        raise UserError(
            f"cannot listen on {address}: {error.strerror}", "check [network] listen", code=Code.CONFIG
        ) from error
