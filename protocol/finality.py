"""What shows, to whoever holds an earlier final header, that blocks are final: a chain, one certificate."""

from collections.abc import Sequence
from itertools import pairwise

from protocol import merkle
from protocol.blocks import (
    Block,
    Committee,
    Finality,
    Header,
    Phase,
    block_hash,
    is_tail,
    verify_certificate,
)
from protocol.chain import is_named_sealed
from protocol.errors import Malformed, RemoteProtocolError
from protocol.transactions import UnverifiedTransaction, VerifiedTransaction


def verify_final(root: Header, headers: Sequence[Header], finality: Finality, committee: Committee) -> None:
    """Verifies that `headers` follow the final header `root` and that `finality` is that of the last.

    All are of one epoch, that of `committee`; so is the certificate.

    Raises:
        RemoteProtocolError: a link is broken, or the certificate is not one of this committee.
    """
    if headers and not _follows(headers[0], root):
        raise RemoteProtocolError("headers do not form a chain from the known one")
    verify_chain(headers, finality, committee)


def verify_chain(headers: Sequence[Header], finality: Finality, committee: Committee) -> None:
    """As `verify_final`, for headers that follow a header which is not known.

    Raises:
        RemoteProtocolError: a link is broken, or the certificate is not one of this committee.
    """
    if not headers:
        raise RemoteProtocolError("no headers that anything could finalize")
    for before, header in pairwise(headers):
        linked = _follows(header, before) and header.network == before.network
        if not linked or header.epoch != before.epoch:
            raise RemoteProtocolError("headers do not form a chain")
    verify_finality(headers[-1], finality, committee)


def verify_finality(header: Header, finality: Finality, committee: Committee) -> None:
    """Verifies that `finality`, by this committee, is that of `header`, whatever comes before it.

    Raises:
        RemoteProtocolError: it is of another network, epoch or header, or does not verify.
    """
    if header.network != committee.network or header.epoch != committee.epoch:
        raise RemoteProtocolError("header is not of the committee's network and epoch")
    final, statement = finality.tail or header, finality.certificate.statement
    if finality.tail is not None and not is_tail(final, header):
        raise RemoteProtocolError("the finalized block is not a tail of the last header")
    if statement.phase != Phase.FINALIZE or statement.block != block_hash(final):
        raise RemoteProtocolError("certificate does not finalize the last header")
    if not verify_certificate(finality.certificate, committee):
        raise RemoteProtocolError("finalization certificate does not verify")


def _follows(header: Header, before: Header) -> bool:
    return header.parent == block_hash(before) and header.height == before.height + 1


def check_contents(
    block: Block,
    transactions: Sequence[UnverifiedTransaction | VerifiedTransaction],
    *,
    allow_missing_sealed: bool = False,
) -> None:
    """Checks that a block's transactions and sealed bytes are those its header commits to.

    `transactions` are the block's own, decoded. Sealed bytes may be absent only from a final block,
    since they are deleted when access ends.

    Raises:
        Malformed: the contents are not the header's.
    """
    if merkle.root([transaction.id for transaction in transactions]) != block.header.tx_root:
        raise Malformed("block's contents are not those of its header")
    for transaction, sealed in zip(transactions, block.sealed, strict=True):
        missing = allow_missing_sealed and not sealed
        if not missing and not is_named_sealed(transaction.body, sealed):
            raise Malformed("block's sealed bytes are not those that its transactions name")
