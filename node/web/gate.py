"""Who may come in at all, and what every answer says of itself to the browser.

The page is for one host name, under a path that nobody can guess: cookies know no ports, so a cookie for
all of 127.0.0.1 would go to whatever else listens on this machine. A page of another origin can neither
read nor post, and what a record holds is never a document of ours.
"""

from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders

from node.web.listening import Asgi, Receive, Scope, Send, admit
from node.web.sessions import Session, Sessions

COOKIE: Final = "session"
LIVE: Final = "x-live"  # of a request that no person made: it keeps no session from ending
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SEALED_POLICY: Final = "default-src 'none'; sandbox; frame-ancestors 'none'"
_HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Without a referrer a browser would not say from which origin a form is posted.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}
_FORM: Final = "application/x-www-form-urlencoded"


class Gate:
    """Lets requests of a session through to `inside`, with the session in their state, and those without
    one to `outside`: the way in, and what is no secret."""

    def __init__(self, *, host: str, root: str, sessions: Sessions, inside: Asgi, outside: Asgi) -> None:
        self._host, self._root, self._sessions = host, root, sessions
        self._inside, self._outside = inside, outside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": f"{scope['type']}.close"})
            return
        headers = Headers(scope=scope)
        status = self._refusal(scope, headers)
        if status:
            await _refuse(status, send)
            return
        scope["state"]["session"] = session = self._session(headers)
        if session is not None:
            admit(scope)
        app = self._outside if session is None or self._is_outside(scope) else self._inside
        await app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> int:
        """The status with which a request is turned away, or 0."""
        if headers.getlist("host") != [self._host]:
            return 421
        if scope["method"] not in ("GET", "POST"):
            return 405
        if not scope["path"].startswith(f"/{self._root}/"):
            return 404
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and not self._is_link(
            scope
        ):
            return 403
        if scope["method"] == "POST":
            if headers.getlist("origin") != [f"http://{self._host}"]:
                return 403
            if headers.get("content-type") != _FORM:
                return 415
        return 0

    def _session(self, headers: Headers) -> Session | None:
        return self._sessions.find(cookie_of(headers), is_use=LIVE not in headers)

    def _is_link(self, scope: Scope) -> bool:
        """Whether this is the address that `chartmesh open` prints, which may be clicked in any program."""
        path: str = scope["path"]
        return scope["method"] == "GET" and path.startswith(f"/{self._root}/enter/")

    def _is_outside(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return path.startswith((f"/{self._root}/enter/", f"/{self._root}/static/"))


def cookie_of(headers: Headers) -> str:
    """The session's secret that a request brings, or nothing."""
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


async def _refuse(status: int, send: Send) -> None:
    """The same few bytes for everybody who is turned away, and an end to the connection."""
    send = _with_headers(send)
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
