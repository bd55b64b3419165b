"""A second opinion on certificates: written from the wire format alone, importing nothing of the project.

A certificate is the MessagePack array [[epoch, view, phase, block], signers, [signature, …]]. Bit i of
`signers` is validator i, and the signatures stand in rising order of i. Each is an Ed25519 signature
over "chartmesh/1", the length of the word "statement" as one byte, that word, the 32 bytes of the
network's id, and the MessagePack of the inner array.
"""

from collections.abc import Sequence

import msgspec
import nacl.exceptions
import nacl.signing

FINALIZE = 3
NO_BLOCK = bytes(32)


def quorum_of(count: int) -> int:
    """How many of `count` validators must sign."""
    faults = (count - 1) // 3
    return (count + faults) // 2 + 1


def second_look(raw: bytes, network: bytes, validators: Sequence[bytes], epoch: int) -> bool:
    """Whether `raw` finalizes a block of this epoch, signed by enough of its validators' raw keys."""
    try:
        statement, signers, signatures = msgspec.msgpack.decode(raw)
        said_epoch, view, phase, block = statement
    except (msgspec.DecodeError, ValueError, TypeError):
        return False
    if said_epoch != epoch or view < 1 or phase != FINALIZE or block == NO_BLOCK:
        return False
    names = [index for index in range(signers.bit_length()) if signers & (1 << index)]
    if not quorum_of(len(validators)) <= len(names) == len(signatures):
        return False
    if names[-1] >= len(validators):
        return False
    signed = b"chartmesh/1" + bytes([9]) + b"statement" + network + msgspec.msgpack.encode(statement)
    return all(
        _is_signed(signed, signature, validators[name])
        for name, signature in zip(names, signatures, strict=True)
    )


def _is_signed(signed: bytes, signature: bytes, key: bytes) -> bool:
    try:
        nacl.signing.VerifyKey(key).verify(signed, signature)
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True
