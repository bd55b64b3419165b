"""The door of the page: closed until somebody asks for a link, and on loopback alone."""

import importlib
from typing import TYPE_CHECKING, Final

import trio

from node.exchange import Answerer
from node.ports import Clock, Entropy, TaskStatus
from node.web.sessions import Sessions
from protocol import limits
from protocol.control import PageOpenResult
from protocol.errors import Code, UserError

if TYPE_CHECKING:
    from node.web.listening import HttpServer

ADDRESS: Final = "127.0.0.1"
_ROOT_BYTES: Final = 8
_BACKLOG: Final = 64


class PageDoor:
    """Serves the page of one node. Run it, and `open` it as often as wanted.

    The libraries behind it are loaded with the first link: a node whose page nobody opens pays nothing.
    """

    def __init__(self, *, role: str, answerer: Answerer, clock: Clock, entropy: Entropy) -> None:
        self._role, self._answerer, self._clock = role, answerer, clock
        self._entropy = entropy
        self._sessions = Sessions(clock=clock, entropy=entropy)
        self._opening = trio.Lock()
        self._nursery: trio.Nursery | None = None
        self._server: HttpServer | None = None
        self._draining = trio.Event()
        self._place = ""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs until drained, and what was being answered has ended."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._draining.wait()
            if self._server is not None:
                self._server.drain()

    def drain(self) -> None:
        self._draining.set()

    async def open(self) -> PageOpenResult:
        """A new link.

        Raises:
            UserError: PORT_IN_USE, where no port of this machine can be had.
        """
        async with self._opening:
            if self._server is None:
                await self._begin()
        url = f"{self._place}/enter/{self._sessions.make_link()}"
        return PageOpenResult(url=url, expires_s=limits.PAGE_LINK_MS // 1000)

    async def _begin(self) -> None:
        assert self._nursery is not None, "it runs"
        for name in ("node.web.listening", "node.web.site"):
            await trio.to_thread.run_sync(importlib.import_module, name)
        from node.web.listening import HttpServer
        from node.web.site import Site

        try:
            [listener] = await trio.open_tcp_listeners(0, host=ADDRESS, backlog=_BACKLOG)
        except OSError as error:
            raise UserError(
                f"the page cannot be served on {ADDRESS}: {error.strerror}",
                "look what uses the ports of this machine, and open it again",
                code=Code.PORT_IN_USE,
            ) from error
        host = f"{ADDRESS}:{listener.socket.getsockname()[1]}"
        root = self._entropy.bytes(_ROOT_BYTES).hex()
        site = Site(
            role=self._role,
            answerer=self._answerer,
            sessions=self._sessions,
            clock=self._clock,
            host=host,
            root=root,
        )
        self._nursery.start_soon(site.run)
        self._server = HttpServer(site.app, listener)
        self._nursery.start_soon(self._server.run)
        self._place = f"http://{host}/{root}"
