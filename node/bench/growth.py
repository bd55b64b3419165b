"""The growth bench: what a transaction costs where the ledger holds many tokens, beside few.

Followers as in the ledger bench, on one core, one of each size: blocks of the mix are verified, executed
and committed by each of them in turn. The tokens that make the sizes are not minted one by one: their
entries, positions and sealed bytes are written as mints would have left them, and the history before is
not there. The limit of each size is the smallest one in the same round.

What bounds it: the paths of the state map, which grow by one node with each doubling and lie scattered in a
memory that no cache holds, and LevelDB, which merges ever more tables of scattered keys in its own thread.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import trio

from node.adapters import InlineOffload
from node.bench.ledger import CLINICS, Follower
from node.bench.report import Report, Row, Spread, paired
from node.bench.speeds import Stopwatch
from node.bench.workload import CONTENT, SEALED_KEY_BYTES, seed
from node.chain.ledger import Head
from node.ports import Put, Store
from node.store import layout
from protocol.blocks import Genesis
from protocol.chain import genesis_header
from protocol.codec import encode
from protocol.keys import ED25519, X25519, PublicKey, SealKey
from protocol.state import (
    NO_HISTORY,
    OwnerKeyState,
    TokenState,
    genesis_state,
    next_history,
    owner_key_entry_key,
    token_entry_key,
)
from protocol.statemap import StateMap
from protocol.transactions import TokenId, TransactionId, sealed_hash

REACH: Final = 1.5
_WRITTEN_TOGETHER: Final = 10_000


@dataclass(frozen=True, slots=True)
class GrowthSizes:
    """`tokens` from few to many; `records` more are minted in each, for the grants of the mix."""

    tokens: tuple[int, ...]
    records: int
    rounds: int
    transactions_per_round: int


GROWTH = GrowthSizes(
    tokens=(10_000, 100_000, 1_000_000), records=2_000, rounds=7, transactions_per_round=2_000
)
GROWTH_QUICK = GrowthSizes(tokens=(1_000, 10_000), records=300, rounds=3, transactions_per_round=300)


def bench_growth(sizes: GrowthSizes) -> Report:
    """Measures in databases in a temporary directory."""
    return trio.run(_bench, sizes)


async def _bench(sizes: GrowthSizes) -> Report:
    costs_us: dict[int, list[float]] = {tokens: [] for tokens in sizes.tokens}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chartmesh-bench-")))
        followers: dict[int, Follower] = {}
        for tokens in sizes.tokens:
            path = folder / str(tokens)
            path.mkdir()
            followers[tokens] = Follower(path, InlineOffload(), found=partial(write_tokens, tokens))
            stack.callback(followers[tokens].close)
            await followers[tokens].prepare(sizes.records)
        for _ in range(sizes.rounds):
            for tokens, follower in followers.items():
                messages = follower.write_blocks(follower.workload.mix(sizes.transactions_per_round))
                watch = Stopwatch()
                await follower.take_in(messages)
                costs_us[tokens].append(1e6 * watch.cost().cpu_s / sizes.transactions_per_round)
    note = f"{sizes.rounds} rounds of {sizes.transactions_per_round} transactions of the mix, on one core"
    return Report("growth", [note], _rows(costs_us))


def _rows(costs_us: dict[int, list[float]]) -> list[Row]:
    few, many = min(costs_us), max(costs_us)
    rows = [Row(f"at {few:,} tokens", "us/transaction", Spread.of(costs_us[few]))]
    for tokens in sorted(costs_us)[1:]:
        rows.append(
            paired(
                f"at {tokens:,} tokens",
                "us/transaction",
                costs_us[tokens],
                f"at {few:,} tokens",
                costs_us[few],
                reach=REACH if tokens == many else None,
                is_ceiling=True,
            )
        )
    return rows


def write_tokens(count: int, store: Store, genesis: Genesis) -> None:
    """Writes an empty ledger as if its network had been founded with so many tokens."""
    entries = dict(genesis_state(genesis).entries.items())
    store.write([(layout.state(key), value) for key, value in entries.items()])
    made = (_token(number, genesis) for number in range(count))
    while some := list(islice(made, _WRITTEN_TOGETHER)):
        store.write([put for one in some for put in one.puts()])
        for one in some:
            entries.update(one.entries)
    root = StateMap.from_sorted(sorted(entries.items())).root
    header = msgspec.structs.replace(genesis_header(genesis), state_root=root)
    store.write([(layout.head(), encode(Head(header, None)))], sync=True)


@dataclass(frozen=True, slots=True)
class _Minted:
    """What a mint leaves: entries of the state, and beside them its sealed bytes."""

    token: TokenId
    entries: dict[bytes, bytes]
    sealed: bytes

    def puts(self) -> Iterator[Put]:
        for key, value in self.entries.items():
            yield layout.state(key), value
        yield layout.transaction(TransactionId(self.token)), layout.position(0, 0)
        yield layout.sealed(self.token, sealed_hash(self.sealed)), self.sealed


def _token(number: int, genesis: Genesis) -> _Minted:
    name = seed("token", number)
    token, sealed = TokenId(name), name * (SEALED_KEY_BYTES // len(name))
    owner_key = PublicKey(bytes((ED25519,)) + seed("owner key", number))
    state = TokenState(
        issuer=genesis.members[number % CLINICS].id_key,
        owner_key=owner_key,
        next_key_hash=seed("next key", number),
        enc_key=SealKey(bytes((X25519,)) + seed("enc key", number)),
        content=CONTENT,
        sealed_key_hash=sealed_hash(sealed),
        generation=0,
        grants=0,
        history=next_history(NO_HISTORY, TransactionId(name)),
        erased=False,
        minted_height=0,
        height=0,
    )
    entries = {
        token_entry_key(token): encode(state),
        owner_key_entry_key(owner_key): encode(OwnerKeyState(token, 0)),
    }
    return _Minted(token, entries, sealed)
