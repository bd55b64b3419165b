"""News for a page that is open: an event whenever the node's own view of the network has changed."""

import trio
from starlette.datastructures import Headers

from node.web.asking import Asking
from node.web.gate import cookie_of
from node.web.listening import Receive, Scope, Send
from node.web.sessions import Sessions
from protocol import limits
from protocol.control import Status, StatusResult


class Events:
    """An ASGI application: a stream of events that says that there is news, never what.

    The page then asks for what it shows. Listening keeps no session from ending: the last event says so.
    """

    def __init__(self, asking: Asking, sessions: Sessions) -> None:
        self._asking, self._sessions = asking, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret = cookie_of(Headers(scope=scope))
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_gone, receive, nursery.cancel_scope)
            seen, silent_s = _marks(await self._asking(Status())), 0.0
            await _say(send, ": there is news when there is an event\n\n")
            while self._sessions.find(secret, is_use=False) is not None:
                await trio.sleep(limits.PAGE_LIVE_S)
                marks, silent_s = _marks(await self._asking(Status())), silent_s + limits.PAGE_LIVE_S
                if marks != seen:
                    seen, silent_s = marks, 0.0
                    await _say(send, "event: changed\ndata: -\n\n")
                elif silent_s >= limits.PAGE_LIVE_SIGN_S:
                    silent_s = 0.0
                    await _say(send, ": still here\n\n")
            await _say(send, "event: ended\ndata: -\n\n")
            nursery.cancel_scope.cancel()
        await send({"type": "http.response.body", "body": b""})


async def wait_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """Cancels `scope` when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


async def _say(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _marks(status: StatusResult) -> tuple[object, ...]:
    """What of a status is news when it changes."""
    return status.height, status.reachable, status.fresh, status.members, status.warnings
