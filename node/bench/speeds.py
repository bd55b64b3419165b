"""The speeds of the machine that no program can beat: bare signature checks and file copies."""

import gc
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nacl.bindings

from protocol.keys import preimage
from protocol.transactions import KIND, Mint, decode_transaction

SignedBytes = tuple[bytes, bytes]
"""What PyNaCl's bare check takes: a signature before the bytes it covers, and the raw key."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of one piece of work: on the wall, and of all CPUs by this process."""

    wall_s: float
    cpu_s: float


class Stopwatch:
    """Measures from its making until `cost`. What is in memory before is kept out of the collector's
    way, as the daemon does with its state: a bench holds keys that no node has."""

    def __init__(self) -> None:
        gc.collect()
        gc.freeze()
        self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def cost(self) -> Cost:
        return Cost(time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s)


def measure(work: Callable[[], object]) -> Cost:
    watch = Stopwatch()
    work()
    return watch.cost()


def signed_bytes(transactions: Sequence[bytes], network: bytes) -> list[SignedBytes]:
    """Every signature in `transactions`, ready for the bare check."""
    found: list[SignedBytes] = []
    for raw in transactions:
        transaction = decode_transaction(raw)
        for item in transaction.envelope.signatures:
            covered = preimage(KIND, network, transaction.envelope.body)
            found.append((item.signature + covered, item.key[1:]))
        if isinstance(transaction.body, Mint):
            enrolment = transaction.body.enrolment
            covered = preimage("enrolment", network, enrolment.body)
            found.append((enrolment.signature + covered, transaction.body.owner_key[1:]))
    return found


def check_bare(signatures: Sequence[SignedBytes]) -> None:
    """Nothing but libsodium's Ed25519 check through PyNaCl. Raises BadSignatureError."""
    check = nacl.bindings.crypto_sign_open
    for signed, key in signatures:
        check(signed, key)


def copy_file(source: Path, target: Path) -> None:
    """A plain copy, on the disk when it returns."""
    shutil.copyfile(source, target)
    with target.open("rb") as copied:
        os.fsync(copied.fileno())
