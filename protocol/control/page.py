"""What the daemon answers about the page that it serves to a browser on this machine."""

from protocol.control.results import Document


class PageOpenResult(Document, frozen=True, kw_only=True):
    """`url` opens the page once, within `expires_s`; whoever has it first is let in."""

    url: str
    expires_s: int
