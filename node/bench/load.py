"""Load on a network as patients make it: light clients that submit over libp2p and ask for proofs.

Each client has an identity of its own and keeps to a stranger's budget at every clinic.
"""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import trio

from node.adapters import SystemClock
from node.bench.workload import seed
from node.net.libp2p_host import Libp2pTransport
from node.ports import PeerAddress
from node.rpc import Caller
from protocol import limits
from protocol.blocks import NetworkId
from protocol.codec import decode, encode
from protocol.errors import Code, TransportError, UserError
from protocol.keys import PublicKey
from protocol.messages.consensus import Submission
from protocol.messages.light import WAIT_MS_MAX, LocateReply, LocateRequest
from protocol.messages.submit import SUBMISSIONS_MAX, SubmitRequest, decode_submit_reply
from protocol.transactions import TransactionId, transaction_id

CLIENTS: Final = 16
CONNECTED_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Client:
    submit: Caller
    light: Caller


class Load:
    """Clients connected to every clinic. Clinics and clients take turns."""

    def __init__(self, clients: Sequence[_Client], clinics: Sequence[PublicKey]) -> None:
        self._clients, self._clinics = clients, clinics
        self._turn = 0

    async def make_final(self, submissions: Sequence[Submission]) -> float:
        """Submits at most SUBMISSIONS_MAX transactions at once and waits until all are proved to be
        final; the seconds that took. As a patient's client does, it goes to the next clinic where one
        is lost.

        Raises:
            UserError: a clinic refused one.
            TransportError: all clinics were lost.
        """
        start_s = trio.current_time()
        client = self._clients[self._turn % len(self._clients)]
        first = self._turn // len(self._clients)
        self._turn += 1
        for offset in range(len(self._clinics)):
            clinic = self._clinics[(first + offset) % len(self._clinics)]
            try:
                await _make_final(client, clinic, submissions)
            except TransportError:
                continue
            return trio.current_time() - start_s
        raise TransportError("the bench lost all its clinics", "try again on a quieter machine")

    async def make_all_final(self, submissions: Sequence[Submission], *, at_once: int) -> list[float]:
        """Makes all final as fast as `at_once` full batches in flight allow; the seconds of each batch."""
        batches = _batches(submissions, SUBMISSIONS_MAX)
        waiting, took_s = iter(batches), list[float]()

        async def work() -> None:
            for batch in waiting:
                took_s.append(await self.make_final(batch))

        async with trio.open_nursery() as nursery:
            for _ in range(min(at_once, len(batches))):
                nursery.start_soon(work)
        return took_s

    async def make_final_at(
        self, rate_per_s: float, submissions: Sequence[Submission], *, together: int
    ) -> list[float]:
        """Submits `together` transactions at a time at a steady rate, whatever becomes of those before;
        the seconds to final of each transaction."""
        took_s: list[float] = []

        async def one(batch: Sequence[Submission]) -> None:
            seconds = await self.make_final(batch)
            took_s.extend([seconds] * len(batch))

        start_s = trio.current_time()
        async with trio.open_nursery() as nursery:
            for number, batch in enumerate(_batches(submissions, together)):
                await trio.sleep_until(start_s + number * together / rate_per_s)
                nursery.start_soon(one, batch)
        return took_s


@asynccontextmanager
async def open_load(network: NetworkId, clinics: Sequence[PeerAddress]) -> AsyncIterator[Load]:
    """Connects every client to every clinic.

    Raises:
        UserError: UNREACHABLE, where that takes too long.
    """
    clock = SystemClock()
    transports = [
        Libp2pTransport(seed=seed("client", number), network=network, clock=clock, members=clinics)
        for number in range(CLIENTS)
    ]
    async with trio.open_nursery() as nursery:
        for transport in transports:
            await nursery.start(transport.run)
        await _wait(lambda: all(len(one.connected()) == len(clinics) for one in transports))
        clients = [_Client(_caller(one, "submit"), _caller(one, "light")) for one in transports]
        yield Load(clients, [clinic.id_key for clinic in clinics])
        nursery.cancel_scope.cancel()


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def _make_final(client: _Client, clinic: PublicKey, submissions: Sequence[Submission]) -> None:
    raw = await client.submit.call(clinic, encode(SubmitRequest(tuple(submissions))))
    if not all(decode_submit_reply(raw, len(submissions)).taken):
        raise UserError("a clinic refused a transaction of the bench", "report this", code=Code.REJECTED)
    missing = [TransactionId(transaction_id(item.transaction)) for item in submissions]
    while missing:
        raw = await client.light.call(clinic, encode(LocateRequest(tuple(missing), WAIT_MS_MAX)))
        located = decode(LocateReply, raw, limit=limits.LIGHT_REPLY_BYTES_MAX).located
        missing = [name for name, found in zip(missing, located, strict=True) if found is None]


async def _wait(is_done: Callable[[], bool]) -> None:
    with trio.move_on_after(CONNECTED_S):
        while not is_done():  # noqa: ASYNC110
            await trio.sleep(0.05)
    if not is_done():
        raise UserError(
            "the bench's clients could not connect", "try again on a quieter machine", code=Code.UNREACHABLE
        )


def _caller(transport: Libp2pTransport, protocol: str) -> Caller:
    return Caller(transport, protocol, reply_limit=limits.LIGHT_REPLY_BYTES_MAX)


def _batches(submissions: Sequence[Submission], size: int) -> list[Sequence[Submission]]:
    return [submissions[start : start + size] for start in range(0, len(submissions), size)]
