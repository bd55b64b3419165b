"""HTTP on loopback: hypercorn's connections under a guard, the only place that knows hypercorn.

hypercorn runs each connection in the nursery of its server and lets an error of one (two tasks that
send at once, a chunk out of order) end them all. So the accepting is done here, and whatever a
connection ends in stays inside it. Nor does hypercorn bound their number, or how long one may take to
send a request: both are bounded here.
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from protocol import limits

_log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

# In a request's state: the cancel scope of its connection, whose deadline ends whoever was not let in.
PATIENCE: Final = "patience"
_GRACE_S: Final = 1.0


class HttpServer:
    """Serves `app` on `listener` until drained or cancelled."""

    def __init__(self, app: Asgi, listener: trio.SocketListener) -> None:
        self._app, self._listener = app, listener
        self._accepting = trio.CancelScope()
        self._context = WorkerContext(None)
        self._connections = 0

    async def run(self) -> None:
        async with trio.open_nursery() as connections:
            with self._accepting:
                await trio.serve_listeners(self._serve, [self._listener], handler_nursery=connections)
            # Idle connections close now; one that listens to events would never end by itself.
            await self._context.terminated.set()
            connections.cancel_scope.deadline = trio.current_time() + _GRACE_S

    def drain(self) -> None:
        """Stops accepting; what is being answered may end."""
        self._accepting.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self._connections >= limits.PAGE_CONNECTIONS_MAX:
            await trio.aclose_forcefully(stream)
            return
        self._connections += 1
        try:
            with trio.move_on_after(limits.PAGE_LET_IN_S) as patience:
                state = ConnectionState({PATIENCE: patience})
                await TCPServer(ASGIWrapper(self._app), _settings(), self._context, state, stream).run()  # type: ignore[arg-type]
        except* Exception as group:  # the one guard of a connection
            _log.warning("dropped a connection to the page: %s", _names(group))
        finally:
            self._connections -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)


def admit(scope: Scope) -> None:
    """The client of this request is one of ours: its connection may last."""
    scope["state"][PATIENCE].deadline = float("inf")


def _settings() -> Config:
    settings = Config()
    settings.include_server_header = False
    settings.keep_alive_timeout = limits.PAGE_KEEP_ALIVE_S
    settings.h11_max_incomplete_size = limits.PAGE_HEAD_BYTES_MAX
    settings.errorlog = settings.accesslog = None
    return settings


def _names(group: BaseExceptionGroup[BaseException]) -> str:
    """The types of what failed: texts could hold what a client sent."""
    found = [
        name
        for one in group.exceptions
        for name in ([_names(one)] if isinstance(one, BaseExceptionGroup) else [type(one).__name__])
    ]
    return ", ".join(found)
