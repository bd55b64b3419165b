"""What narrows access and is not final yet is told to whoever connects.

Such a transaction counts at every node that has seen it, so two nodes that were apart tell each other
theirs as soon as they meet, whether or not anything can become final between them.
"""

from collections.abc import Iterator

from node.chain.submissions import FORWARD_BYTES_MAX, NARROWING, PROTOCOL
from node.ports import Transport
from protocol import limits
from protocol.codec import encode
from protocol.keys import PublicKey
from protocol.mempool import Mempool
from protocol.messages.consensus import Forward, Submission


class Contact:
    """Tells each member that connects what waits here; the member does the same."""

    def __init__(self, *, transport: Transport, mempool: Mempool) -> None:
        self._transport, self._mempool = transport, mempool
        transport.on_connected(self._tell)

    def _tell(self, peer: PublicKey) -> None:
        for batch in self._batches():
            self._transport.send(peer, PROTOCOL, encode(Forward(tuple(batch))))

    def _batches(self) -> Iterator[list[Submission]]:
        batch: list[Submission] = []
        size = 0
        for item in self._mempool:
            if not isinstance(item.transaction.body, NARROWING):
                continue
            length = len(item.transaction.raw) + len(item.sealed)
            if batch and (size + length > FORWARD_BYTES_MAX or len(batch) == limits.BLOCK_TRANSACTIONS_MAX):
                yield batch
                batch, size = [], 0
            batch.append(Submission(item.transaction.raw, item.sealed))
            size += length
        if batch:
            yield batch
