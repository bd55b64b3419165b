"""The bytes of one TCP connection, taken from the system by the bufferful."""

from typing import Final

import trio
from libp2p.io.trio import TrioTCPStream

from protocol.limits import KIB

BUFFER_BYTES: Final = 256 * KIB


class BufferedTcpStream(TrioTCPStream):
    """Asks the system for all that has come. The library asks for the two bytes of a length, then for the
    message, and each time the task gives way to all others. One task reads at a time."""

    def __init__(self, stream: trio.SocketStream) -> None:
        super().__init__(stream)
        self._unread = memoryview(b"")

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes, as many as are here; none at the end of the connection."""
        if not self._unread and n != 0:
            self._unread = memoryview(await super().read(BUFFER_BYTES))
        octets = bytes(self._unread[:n])
        self._unread = self._unread[len(octets) :]
        return octets
