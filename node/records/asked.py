"""The access requests that this clinic made, kept until they lapse, and what patients are told of them.

A box is given to whoever signs with the key that it is addressed to, and an answer is taken from her alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from node.ports import Clock, Store
from node.store import layout
from protocol import limits
from protocol.access_requests import (
    AccessRequest,
    RequestAnswer,
    RequestId,
    Standing,
    VerifiedRequest,
    verify_answer,
)
from protocol.blocks import NetworkId
from protocol.codec import Wire, decode, encode
from protocol.errors import Code, UserError
from protocol.keys import PublicKey
from protocol.messages.light import Waiting

_ENTRY_BYTES_MAX = limits.REQUEST_BYTES_MAX + limits.SEALED_BYTES_MAX


class AskedEntry(Wire, frozen=True):
    """A request as stored: its body, the box for the patient, and a `Standing` as a number."""

    body: bytes
    sealed: bytes
    standing: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that this clinic made, and what became of it."""

    request_id: RequestId
    request: AccessRequest
    sealed: bytes
    standing: Standing


class AskedRequests:
    """The clinic's table of requests, by id and by the owner key asked."""

    def __init__(self, *, store: Store, clock: Clock, identity: PublicKey, network: NetworkId) -> None:
        self._store, self._clock = store, clock
        self._identity, self._network = identity, network

    def put(self, verified: VerifiedRequest, sealed: bytes) -> Asked:
        """Keeps a new request; durable when it returns. What lapsed long ago goes.

        Raises:
            UserError: LIMIT: too many wait, in all or for this patient.
        """
        now_ms, waiting = self._clock.wall_ms(), list[Asked]()
        for one in self.all():
            if one.request.not_after_ms + limits.REQUEST_KEPT_MS < now_ms:
                self._drop(one)
            elif self.is_waiting(one):
                waiting.append(one)
        if len(waiting) >= limits.REQUESTS_WAITING_MAX:
            raise _too_many("too many requests of this clinic wait for an answer")
        to = verified.request.to
        if sum(one.request.to == to for one in waiting) >= limits.REQUESTS_PER_KEY_MAX:
            raise _too_many("too many requests wait for this patient already")
        name, body = verified.request_id, encode(verified.request)
        entry = AskedEntry(body, sealed, Standing.WAITING)
        puts = [(layout.asked(name), encode(entry)), (layout.asked_key(to, name), b"")]
        self._store.write(puts, sync=True)
        return _asked(name, entry)

    def all(self) -> Iterator[Asked]:
        """Every request, in no order of use."""
        for key, raw in self._store.iterate(layout.ASKED):
            yield _asked(RequestId(key[len(layout.ASKED) :]), _decode(raw))

    def get(self, name: RequestId) -> Asked | None:
        raw = self._store.get(layout.asked(name))
        return None if raw is None else _asked(name, _decode(raw))

    def is_waiting(self, asked: Asked) -> bool:
        """Whether it can be answered still."""
        return asked.standing is Standing.WAITING and self._clock.wall_ms() <= asked.request.not_after_ms

    # What patients are told and say.

    def waiting_for(self, key: PublicKey) -> list[Waiting]:
        """The boxes that wait for the holder of `key`."""
        start = len(layout.asked_key(key))
        names = [RequestId(entry[start:]) for entry, _ in self._store.iterate(layout.asked_key(key))]
        asked = [one for one in map(self.get, names) if one is not None]
        return [Waiting(key, one.sealed) for one in asked if self.is_waiting(one)]

    def take_answer(self, name: RequestId, *, is_approved: bool, signature: bytes) -> bool:
        """Whether this is the patient's answer to a request that waits, or the one she gave already."""
        asked = self.get(name)
        if asked is None:
            return False
        answer = RequestAnswer(name, self._identity, is_approved)
        if not verify_answer(answer, asked.request.to, signature, self._network):
            return False
        standing = Standing.APPROVED if is_approved else Standing.DECLINED
        if not self.is_waiting(asked):
            return asked.standing is standing
        entry = AskedEntry(encode(asked.request), asked.sealed, standing)
        self._store.write([(layout.asked(name), encode(entry))], sync=True)
        return True

    def _drop(self, asked: Asked) -> None:
        name = asked.request_id
        self._store.write((), [layout.asked(name), layout.asked_key(asked.request.to, name)])


def _decode(raw: bytes) -> AskedEntry:
    return decode(AskedEntry, raw, limit=_ENTRY_BYTES_MAX)


def _asked(name: RequestId, entry: AskedEntry) -> Asked:
    request = decode(AccessRequest, entry.body, limit=limits.REQUEST_BYTES_MAX)
    return Asked(name, request, entry.sealed, Standing(entry.standing))


def _too_many(message: str) -> UserError:
    return UserError(
        message, "wait until some are answered or lapse: chartmesh access list", code=Code.LIMIT
    )
