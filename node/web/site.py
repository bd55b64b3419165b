"""What there is under which address, for a patient and for a clinic."""

import logging
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route, Router

from node.exchange import Answerer
from node.ports import Clock
from node.web import clinic_pages, patient_pages
from node.web.asking import Asking
from node.web.gate import COOKIE, Gate, cookie_of
from node.web.history import History
from node.web.live import Events
from node.web.looking import Viewer
from node.web.sessions import Sessions
from node.web.statics import serve_static
from node.web.visit import Handler, Place, Visit, make_environment
from protocol.errors import ChartmeshError, Code, UserError

_log = logging.getLogger(__name__)
_OWN_FAULT: Final = ChartmeshError(
    "the node failed to answer: this is a fault of chartmesh", "look at its log"
)


class Site:
    """The page of one node. `app` is served while `run` runs."""

    def __init__(
        self, *, role: str, answerer: Answerer, sessions: Sessions, clock: Clock, host: str, root: str
    ) -> None:
        asking, pages = Asking(answerer), clinic_pages if role == "clinic" else patient_pages
        self._sessions, self._history = sessions, History(asking, clock)
        self._place = Place(
            base=f"/{root}",
            role=role,
            asking=asking,
            clock=clock,
            history=self._history,
            viewer=Viewer(),
            templates=make_environment(),
            pages=pages.PAGES,
        )
        inside = [self._route(path, handler, "GET") for path, handler in pages.SHOWN]
        inside += [
            self._route(path, handler, "POST") for path, handler in (*pages.DONE, ("/leave", self._leave))
        ]
        inside += [Route(f"/{root}/events", Events(asking, sessions), methods=["GET"])]
        inside += [self._route("/{path:path}", _find_nothing, "GET")]
        self.app = Gate(
            host=host,
            root=root,
            sessions=sessions,
            inside=Router(inside),
            outside=Router(
                [
                    Route(f"/{root}/static/{{name}}", serve_static, methods=["GET"]),
                    Route(f"/{root}/enter/{{link}}", self._enter, methods=["GET"]),
                    Route("/{path:path}", self._lock, methods=["GET", "POST"]),
                ]
            ),
        )

    async def run(self) -> None:
        """Keeps what the charts show, until cancelled."""
        if self._place.role == "clinic":
            await self._history.run()

    def _route(self, path: str, handler: Handler, method: str) -> Route:
        async def answer(request: Request) -> Response:
            visit = Visit(self._place, request)
            try:
                return await handler(visit)
            except ChartmeshError as error:
                return visit.tell(error)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:  # the one guard of a request
                _log.exception("answering %s of the page failed", path)
                return visit.tell(_OWN_FAULT)

        return Route(self._place.base + path, answer, methods=[method])

    async def _enter(self, request: Request) -> Response:
        secret = self._sessions.enter(request.path_params["link"])
        if secret is None:
            return self._locked("This link was used already, or is too old.")
        answer = RedirectResponse(f"{self._place.base}/", 303)
        answer.set_cookie(COOKIE, secret, path=f"{self._place.base}/", httponly=True, samesite="strict")
        return answer

    async def _leave(self, visit: Visit) -> Response:
        await visit.form()
        self._sessions.leave(cookie_of(visit.request.headers))
        answer = self._locked("You have left.")
        answer.delete_cookie(COOKIE, path=f"{self._place.base}/", httponly=True, samesite="strict")
        return answer

    async def _lock(self, _: Request) -> Response:
        return self._locked("Nobody has used this page for a while, or it was never opened here.")

    def _locked(self, why: str) -> HTMLResponse:
        template = self._place.templates.get_template("locked.html")
        return HTMLResponse(template.render(base=self._place.base, why=why), 401)


async def _find_nothing(_: Visit) -> Response:
    raise UserError("there is no such page", "go back to the first one", code=Code.REFUSED)
