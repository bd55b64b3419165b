"""Telling the service supervisor how the daemon is, by sd_notify(3): one datagram for each state."""

import os
import socket
from collections.abc import Mapping

import trio

_SOCKET = "NOTIFY_SOCKET"
_WATCHDOG = "WATCHDOG_USEC"
_US_PER_S = 1_000_000


class Supervisor:
    """The supervisor named in the environment; without one, nothing is told."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._address = env.get(_SOCKET, "")
        watchdog_us = env.get(_WATCHDOG, "")
        self._watchdog_s = int(watchdog_us) / _US_PER_S if watchdog_us.isdigit() else 0.0

    def ready(self) -> None:
        """The daemon serves."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """The daemon ends."""
        self._tell("STOPPING=1")

    async def keep_alive(self) -> None:
        """Says twice in each period of the watchdog that the event loop still turns."""
        while self._watchdog_s:
            self._tell("WATCHDOG=1")
            await trio.sleep(self._watchdog_s / 2)

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # A leading @ stands for an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)
            try:
                line.sendto(state.encode(), address)
            except OSError:
                # One that is gone or busy is no reason to stop; where it waits for READY it ends us itself.
                return


def supervisor() -> Supervisor:
    return Supervisor(os.environ)
