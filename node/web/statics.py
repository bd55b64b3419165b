"""The files that belong to every page: its style, its script, and htmx with its licence."""

from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "htmx-LICENSE.txt": "text/plain; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


async def serve_static(request: Request) -> Response:
    """One of the files named above, and no other."""
    name = request.path_params["name"]
    if name not in TYPES:
        return Response(status_code=404)
    return Response((FOLDER / name).read_bytes(), media_type=TYPES[name])
