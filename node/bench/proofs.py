"""The proofs bench: what it costs a patient's light client to believe nobody.

A proof that a grant is live, by a committee of ten that the client knows: the newest final header with its
certificate, and the paths of the token's and the grant's entries in the state map. The limit of its size is
what no such proof can lack: a quorum's signatures, and the hashes beside the two paths. The limit of its
check is to check those signatures and do nothing else, on one core.

Then a light client that was away for a month and one that was away for a day, while as many epochs ended:
see `away`. The limit is what a client must fetch that leaves no header out.

What bounds it: the certificate, 64 bytes for each signature of a quorum, and a hash more in each path for
every doubling of the ledger. What catching up costs is an epoch's header, certificate and roster.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio

from node.adapters import InlineOffload, SystemClock
from node.bench.away import Absence, measure_absence
from node.bench.chain import ChainMaker
from node.bench.founders import VALIDATORS, found
from node.bench.growth import write_tokens
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import SignedBytes, check_bare, measure
from node.bench.workload import Workload
from node.chain.ledger import ExecutedBlock, Ledger
from node.chain.proving import route_from
from node.store.leveldb import LEDGER_TUNING, open_leveldb
from protocol.blocks import Committee, genesis_committee
from protocol.codec import encode
from protocol.keys import SIGNATURE_BYTES, preimage
from protocol.limits import DAY_MS
from protocol.messages.consensus import Submission
from protocol.proofs import Asked, Route, Standing, StateProof, prove_state, verify_state
from protocol.transactions import Grant, decode_transaction

REACH_BYTES: Final = 2_500
REACH_GROWTH: Final = 1.05
RECORDS: Final = 64


@dataclass(frozen=True, slots=True)
class ProofsSizes:
    """`tokens` in the ledger whose proofs are weighed, `proofs` of each; the absences by days."""

    tokens: tuple[int, ...]
    proofs: int
    rounds: int
    days: tuple[int, int]
    epochs: int


PROOFS = ProofsSizes(tokens=(10_000, 1_000_000), proofs=256, rounds=5, days=(1, 30), epochs=8)
PROOFS_QUICK = ProofsSizes(tokens=(1_000,), proofs=32, rounds=1, days=(1, 2), epochs=2)


@dataclass(frozen=True, slots=True)
class _Prover:
    """A ledger that can be asked, and the grants that are live in it."""

    ledger: Ledger
    committee: Committee
    asked: tuple[Asked, ...]

    def verify(self, raws: Sequence[bytes]) -> None:
        """As a patient's light client does, which knows the committee."""
        ledger = self.ledger
        for raw, asked in zip(raws, self.asked, strict=True):
            shown = verify_state(
                raw, ledger.genesis, [asked], now_ms=ledger.head.header.time_ms, committee=self.committee
            )
            assert shown.proven[0].standing == Standing.LIVE

    def prove(self, asked: Asked) -> StateProof:
        route = route_from(self.ledger, self.committee.epoch)
        assert route is not None
        return prove_state(route, self.ledger.state, [asked])


def bench_proofs(sizes: ProofsSizes) -> Report:
    """Measures in databases in a temporary directory, and over libp2p on loopback."""
    report = Report("proofs", [f"{VALIDATORS} validators, {sizes.proofs} grants proven"])
    with tempfile.TemporaryDirectory(prefix="chartmesh-bench-") as name:
        directory = Path(name)
        for tokens in sizes.tokens:
            report.rows += trio.run(bench_grants, directory, tokens, sizes)
        few, many = (
            trio.run(partial(measure_absence, directory, days=days, epochs=sizes.epochs))
            for days in sizes.days
        )
    report.notes.append(f"{many.blocks:,} blocks in {many.days} days, {few.blocks:,} in {few.days}")
    report.rows += _away_rows(few, many)
    return report


async def bench_grants(directory: Path, tokens: int, sizes: ProofsSizes) -> list[Row]:
    """The rows of a ledger with so many tokens, which it makes in `directory`."""
    clock = SystemClock()
    founders = found(created_ms=clock.wall_ms() - DAY_MS)
    genesis, committee = founders.genesis, genesis_committee(founders.genesis)
    store = open_leveldb(directory / str(tokens), tuning=LEDGER_TUNING, network=committee.network)
    try:
        write_tokens(tokens, store, genesis)
        ledger = Ledger(genesis=genesis, store=store, clock=clock, offload=InlineOffload())
        maker = ChainMaker(genesis, founders.voters)
        maker.tip = ledger.head.header, ledger.state
        workload = Workload(committee.network, founders.issuers, not_after_ms=clock.wall_ms())
        await _take_in(ledger, maker, list(workload.records(RECORDS)))
        grants = workload.grants(sizes.proofs)
        await _take_in(ledger, maker, grants)
        prover = _Prover(ledger, committee, tuple(map(_granted, grants)))
        return _grant_rows(prover, tokens, sizes.rounds)
    finally:
        store.close()


async def _take_in(ledger: Ledger, maker: ChainMaker, submissions: Sequence[Submission]) -> None:
    for made in maker.blocks(submissions):
        executed = ExecutedBlock(made.block, made.transactions, made.execution)
        await ledger.commit([executed], made.finality)


def _granted(submission: Submission) -> Asked:
    body = decode_transaction(submission.transaction).body
    assert isinstance(body, Grant)
    return body.token, body.grant_id


def _grant_rows(prover: _Prover, tokens: int, rounds: int) -> list[Row]:
    proofs = [prover.prove(asked) for asked in prover.asked]
    raws = [encode(proof) for proof in proofs]
    signatures = _signatures(proofs[0].route, prover.committee) * len(raws)
    checks: list[float] = []
    bare: list[float] = []
    for _ in range(rounds):
        checks.append(1e6 * measure(partial(prover.verify, raws)).cpu_s / len(raws))
        bare.append(1e6 * measure(partial(check_bare, signatures)).cpu_s / len(raws))
    least = SIGNATURE_BYTES * prover.committee.quorum
    where = f"at {tokens:,} tokens"
    sizes = [len(raw) for raw in raws]
    return [
        Row(f"proof of a live grant {where}", "B", Spread.of(sizes), reach=REACH_BYTES, is_ceiling=True),
        paired(
            f"the same {where} beside what it cannot lack",
            "B",
            sizes,
            "a quorum's signatures and the hashes beside the paths",
            [least + len(proof.excerpt.siblings) for proof in proofs],
        ),
        paired(
            f"check of such a proof {where}",
            "us",
            checks,
            "bare checks of its signatures on one core",
            bare,
        ),
    ]


def _signatures(route: Route, committee: Committee) -> list[SignedBytes]:
    """Those of the newest header's certificate, ready for the bare check."""
    certificate = route.finality.certificate
    covered = preimage("statement", committee.network, encode(certificate.statement))
    keys = [key for at, key in enumerate(committee.validators) if certificate.signers >> at & 1]
    return [
        (signature + covered, key[1:]) for signature, key in zip(certificate.signatures, keys, strict=True)
    ]


def _away_rows(few: Absence, many: Absence) -> list[Row]:
    after = f"after {many.days} days away"
    return [
        paired(
            f"headers fetched {after}",
            "headers",
            [many.leaping.headers],
            "ends of epochs and the newest header",
            [many.epochs + 1],
            reach=1,
            is_ceiling=True,
        ),
        paired(
            f"bytes fetched {after}",
            "B",
            [many.leaping.size],
            "the same with every header",
            [many.following.size],
        ),
        paired(
            f"bytes fetched {after}, as many epochs",
            "B",
            [many.leaping.size],
            f"after {few.days} {'day' if few.days == 1 else 'days'} away",
            [few.leaping.size],
            reach=REACH_GROWTH,
            is_ceiling=True,
        ),
    ]
