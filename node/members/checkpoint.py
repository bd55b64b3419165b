"""The checkpoint of an invitation: the block that a newcomer's chain must hold.

Old keys, all leaked, make a chain that verifies from the genesis file on. What they cannot make is the
block that the inviter knew to be final.
"""

from node.chain.ledger import FinalizedBlock, Ledger
from protocol.blocks import BlockHash, Header, block_hash
from protocol.errors import Code, StorageError


class Checkpoint:
    """Watches a ledger for the block of one height. Raises StorageError at construction, as `_check`."""

    def __init__(self, ledger: Ledger, height: int, name: BlockHash) -> None:
        self._height, self._name = height, name
        known = ledger.header(height)
        if known is not None:
            self._check(known)
        ledger.observe(self._see)

    def _see(self, final: FinalizedBlock) -> None:
        if final.block.header.height == self._height:
            self._check(final.block.header)

    def _check(self, header: Header) -> None:
        """Raises StorageError where this is not the chain that the inviter follows: the node stops."""
        if block_hash(header) != self._name:
            raise StorageError(
                f"block {self._height} is not the one that the invitation names: "
                "somebody shows a false ledger",
                "stop here and tell the network's members; to start over, move the ledger database away",
                code=Code.WRONG_NETWORK,
            )
