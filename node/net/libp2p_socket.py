"""The bytes of one TCP connection, taken from the system by the bufferful."""

from typing import Final

import trio
from libp2p.io.trio import TrioTCPStream

from protocol.limits import KIB

BUFFER_BYTES: Final = 256 * KIB
STRANGER_BUFFER_BYTES: Final = 16 * KIB
NOTHING: Final = memoryview(b"")


class BufferedTcpStream(TrioTCPStream):
    """Asks the system for all that has come. The library asks for the two bytes of a length, then for the
    message, and each time the task gives way to all others. One task reads at a time.

    `buffer_bytes` is how much is asked for: little of hundreds of strangers, whose requests are short.
    """

    def __init__(self, stream: trio.SocketStream, buffer_bytes: int = BUFFER_BYTES) -> None:
        super().__init__(stream)
        self.buffer_bytes = buffer_bytes
        self._unread = NOTHING

    async def read(self, n: int | None = None) -> bytes:
        """At most `n` bytes, as many as are here; none at the end of the connection."""
        if not self._unread and n != 0:
            self._unread = memoryview(await super().read(self.buffer_bytes))
        octets = bytes(self._unread[:n])
        # What is left of nothing would keep all of it: of hundreds of silent connections that is much.
        self._unread = self._unread[len(octets) :] or NOTHING
        return octets
