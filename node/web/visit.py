"""One request of a browser that was let in, and what its answer can be."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import trio
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from node.ports import Clock
from node.web import words
from node.web.asking import Asking
from node.web.gate import LIVE
from node.web.history import History
from node.web.looking import Viewer
from node.web.sessions import Session, is_same
from protocol import limits
from protocol.errors import ChartmeshError, Code, UserError

_STATUS: Final = {Code.REFUSED: 404, Code.STALE: 503, Code.UNREACHABLE: 503, Code.INTERNAL: 500}
TEMPLATES: Final = Path(__file__).parent / "templates"


def _harmless(value: object) -> object:
    """Texts of others without characters that turn or hide their neighbours."""
    return words.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def make_environment() -> Environment:
    """The templates: everything that is put into one is escaped, and nothing may be missing."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": words.when,
        "day": words.day,
        "month": words.month,
        "size": words.size,
        "short": words.short,
        "span": words.span,
        "purpose": words.purpose,
        "purposes": words.purposes,
        "provided": words.provided,
        "verdict": words.verdict,
        "named": words.named,
        "sentence": words.sentence,
        "counted": words.counted,
    }
    return environment


@dataclass(frozen=True, slots=True)
class Place:
    """What all requests of one page share. `pages` are those in its navigation: path and name."""

    base: str
    role: str
    asking: Asking
    clock: Clock
    history: History
    viewer: Viewer
    templates: Environment
    pages: tuple[tuple[str, str], ...]


class Visit:
    """A request within a session."""

    def __init__(self, place: Place, request: Request) -> None:
        self.place, self.request = place, request
        self.asking, self.clock = place.asking, place.clock
        self.session: Session = request.state.session

    def name(self, key: str) -> str:
        """A part of the path."""
        return str(self.request.path_params[key])

    def query(self, key: str, limit: int = limits.CONTROL_NAME_CHARS_MAX) -> str:
        """What was asked for after the question mark, or nothing."""
        return self.request.query_params.get(key, "").strip()[:limit]

    async def form(self) -> dict[str, list[str]]:
        """The fields of a form that this session was given.

        Raises:
            UserError: LIMIT, too long or too slow; USAGE, not of this session.
        """
        body, fields = (await self._body()).decode("utf-8", "replace"), dict[str, list[str]]()
        if body.count("&") >= limits.PAGE_FORM_FIELDS_MAX:
            raise UserError("the form has too many fields", "choose less at once", code=Code.LIMIT)
        for key, value in parse_qsl(body):
            fields.setdefault(key, []).append(value)
        if not is_same("".join(fields.pop("csrf", [])), self.session.csrf):
            raise UserError(
                "this form was not made for you, or you have left since",
                "load the page again",
                code=Code.USAGE,
            )
        return fields

    async def _body(self) -> bytes:
        body = b""
        with trio.move_on_after(limits.REQUEST_S):
            async with aclosing(self.request.stream()) as stream:
                async for chunk in stream:
                    body += chunk
                    if len(body) > limits.PAGE_FORM_BYTES_MAX:
                        break
                else:
                    return body
        raise UserError("the form is too long, or came too slowly", "send it again", code=Code.LIMIT)

    def page(self, template: str, *, code: int = 200, **values: Any) -> HTMLResponse:
        """A page. What the last act came to is shown once, by the next page that a person asks for."""
        said = ""
        if LIVE not in self.request.headers:
            said, self.session.said = self.session.said, ""
        text = self.place.templates.get_template(template).render(
            base=self.place.base,
            role=self.place.role,
            pages=self.place.pages,
            here=self.request.url.path.removeprefix(self.place.base),
            csrf=self.session.csrf,
            said=said,
            **values,
        )
        return HTMLResponse(text, code)

    def tell(self, error: ChartmeshError) -> Response:
        """What happened and what to do next, as on the command line."""
        return self.page(
            "error.html", code=_STATUS.get(error.code, 400), message=error.message, hint=error.hint
        )

    def go(self, path: str, said: str = "") -> Response:
        """Sends the browser to another page of ours, which tells `said` first."""
        self.session.said = said
        return RedirectResponse(self.place.base + path, 303)


Handler = Callable[[Visit], Awaitable[Response]]
