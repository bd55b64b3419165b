"""The access requests that this device knows of, in its wallet's store."""

from dataclasses import dataclass

from node.light.wallet import only_one
from node.ports import Clock, Store
from node.store import layout
from protocol import limits
from protocol.access_requests import AccessRequest, RequestId, Standing
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, UserError

_PREFIX = layout.wallet(b"request/")
_ENTRY_BYTES_MAX = limits.REQUEST_BYTES_MAX + limits.KIB


class KnownRequest(Wire, frozen=True):
    """A request as kept on this device until it lapses: an answered one must not come again.

    `device` and `index` name the keys asked; `standing` is a `Standing`; `told`: its clinic has the answer.
    """

    body: bytes
    device: int
    index: int
    standing: int
    told: bool


@dataclass(frozen=True, slots=True)
class Found:
    """A kept request with its id and what it says."""

    name: RequestId
    known: KnownRequest
    request: AccessRequest


class KnownRequests:
    """What was asked and could still be asked again."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def all(self) -> list[Found]:
        """Those that stand, answered or not; the rest is forgotten."""
        kept, lapsed, now_ms = list[Found](), list[bytes](), self._clock.wall_ms()
        for key, raw in self._store.iterate(_PREFIX):
            known = decode(KnownRequest, raw, limit=_ENTRY_BYTES_MAX)
            request = decode(AccessRequest, known.body, limit=limits.REQUEST_BYTES_MAX)
            if request.not_after_ms < now_ms:
                lapsed.append(key)
            else:
                kept.append(Found(RequestId(key[len(_PREFIX) :]), known, request))
        if lapsed:
            self._store.write((), lapsed)
        return kept

    def find(self, prefix: str) -> Found:
        """The one whose id begins with `prefix`. Raises UserError REFUSED or AMBIGUOUS_ID."""
        return only_one(prefix, "request", {one.name.hex(): one for one in self.all()})

    def waiting(self, prefix: str) -> Found:
        """The same, where it was not answered yet. Raises also UserError USAGE."""
        found = self.find(prefix)
        if found.known.standing != Standing.WAITING:
            raise UserError(
                f"this request was {Standing(found.known.standing).name.lower()} already",
                "see what you share: chartmesh my shares",
                code=Code.USAGE,
            )
        return found

    def put(self, name: RequestId, known: KnownRequest) -> None:
        """Durable when it returns."""
        self._store.write([(_PREFIX + name, encode(known))], sync=True)
