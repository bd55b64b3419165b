"""The real LevelDB under every fault we know: never wrong bytes, never a loss that nobody is told of.

Each test prints its seed; CHARTMESH_FAULT_SEED repeats it.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from node.adapters import InlineOffload
from node.chain.journal import VoteJournal
from node.chain.ledger import DeniedGrants, Ledger
from node.store import layout
from node.store.counted import CountedPrefix
from node.store.leveldb import LevelDbStore, LevelDbTuning, open_leveldb
from node.store.memory import MemoryVoteFile
from node.store.room import LowWater
from protocol.ballot import VoteRecord
from protocol.blocks import NO_BLOCK, block_hash
from protocol.errors import Code, StorageError
from protocol.keys import PublicKey
from protocol.transactions import GrantId, TokenId
from tests.clinic_world import world_clock
from tests.ledger_world import GENESIS, NETWORK
from tests.unit.test_finality import BLOCKS, certify
from tests.unit.test_leveldb import ENTRIES, check_nothing_wrong, fill

SMALL = LevelDbTuning(write_buffer_bytes=64 * 1024, file_bytes_max=64 * 1024, low_water=LowWater(0))
SEED = int(os.environ.get("CHARTMESH_FAULT_SEED", "0")) or random.randrange(2**32)
FLIPS = 40  # of each kind of file
TAILS = 40
KILLS = 12
FOOTER_BYTES = 48
CANDIDATES = 300
VOTE_KEY = PublicKey(b"k" * 33)
TOKEN = TokenId(b"t" * 32)
DENIED = [GrantId(random.Random(number).randbytes(32)) for number in range(1_500)]


@pytest.fixture
def dice() -> random.Random:
    print(f"CHARTMESH_FAULT_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db"


def copies(path: Path, count: int) -> Iterator[Path]:
    """Copies of the database, each to be spoilt in a way of its own."""
    for number in range(count):
        copy = path.with_name(f"copy-{number}")
        shutil.copytree(path, copy, ignore=shutil.ignore_patterns("ballast"))
        yield copy
        shutil.rmtree(copy)


def varint(content: bytes, offset: int) -> tuple[int, int]:
    """A number of LevelDB's, and where the next begins."""
    number = shift = 0
    while True:
        octet = content[offset]
        number, shift, offset = number | (octet & 0x7F) << shift, shift + 7, offset + 1
        if octet < 0x80:
            return number, offset


def index_region(table: bytes) -> range:
    """Where the index block of a table lies, by its footer: handles of two blocks, as varints."""
    offset = len(table) - FOOTER_BYTES
    for _ in range(2):
        _, offset = varint(table, offset)
    start, offset = varint(table, offset)
    size, _ = varint(table, offset)
    return range(start, start + size)


def regions(path: Path) -> dict[str, tuple[str, range | None]]:
    """For each kind of file and part of it: the pattern of its name, and where in it (None: anywhere)."""
    table = min(path.glob("*.ldb")).read_bytes()
    index = index_region(table)
    return {
        "table data": ("*.ldb", range(index.start // 2)),
        "table index": ("*.ldb", index),
        "table footer": ("*.ldb", range(len(table) - FOOTER_BYTES, len(table))),
        "log": ("*.log", None),
        "manifest": ("MANIFEST*", None),
        "current": ("CURRENT", None),
    }


KINDS = ("table data", "table index", "table footer", "log", "manifest", "current")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_anywhere_is_an_error_or_changes_nothing(
    path: Path, dice: random.Random, kind: str
) -> None:
    fill(path, tables=True)
    if kind == "log":
        fill(path, tables=False)
    pattern, region = regions(path)[kind]
    noticed = 0
    for copy in copies(path, FLIPS):
        file = min(copy.glob(pattern), key=lambda one: (-one.stat().st_size, one.name))
        if region is not None:
            file = min(copy.glob(pattern))
        content = bytearray(file.read_bytes())
        content[dice.choice(region or range(len(content)))] ^= 1 << dice.randrange(8)
        file.write_bytes(content)
        noticed += any(check_nothing_wrong(copy))
    assert noticed, "no flip had any effect: the test shows nothing"


@pytest.mark.parametrize("tail", ["zeros", "garbage", "cut"])
def test_a_torn_tail_of_the_log_leaves_an_exact_prefix_or_does_not_open(
    path: Path, dice: random.Random, tail: str
) -> None:
    fill(path, tables=False)
    prefixes, codes = 0, set[Code]()
    for copy in copies(path, TAILS):
        log = next(copy.glob("*.log"))
        content = bytearray(log.read_bytes())
        start = len(content) - dice.randrange(1, 2_000)
        if tail == "cut":
            del content[start:]
        else:
            size = len(content) - start
            content[start:] = bytes(size) if tail == "zeros" else dice.randbytes(size)
        log.write_bytes(content)
        try:
            store = open_leveldb(copy, tuning=SMALL, network=bytes(32))
        except StorageError as error:
            codes.add(error.code)
            continue
        count = CountedPrefix(store, b"p/").verify()
        assert list(store.iterate(b"p/")) == sorted(ENTRIES.items())[:count]
        store.close()
        prefixes += 1
    assert codes <= {Code.STORE_DAMAGED}
    assert tail != "cut" or prefixes == TAILS


def flipped(path: Path, kind: str, dice: random.Random) -> Iterator[Path]:
    """Copies of the database, each with one bit of its largest table flipped, in its index or its data."""
    table = max(path.glob("*.ldb"), key=lambda one: one.stat().st_size)
    index = index_region(table.read_bytes())
    for copy in copies(path, FLIPS):
        content = bytearray(table.read_bytes())
        place = dice.choice(index if kind == "table index" else range(index.start))
        content[place] ^= 1 << dice.randrange(8)
        (copy / table.name).write_bytes(content)
        yield copy


@pytest.mark.parametrize("kind", ["table data", "table index"])
def test_a_damaged_index_of_revocations_never_says_not_revoked(
    path: Path, dice: random.Random, kind: str
) -> None:
    """Asked for one, it says so or fails; a start that scans them all and misses some does not begin."""
    store = open_leveldb(path, tuning=SMALL, network=NETWORK)
    Ledger(genesis=GENESIS, store=store, clock=world_clock(), offload=InlineOffload())
    CountedPrefix(store, layout.DENIED).write(
        [(layout.denied(TOKEN, grant), b"\x01") for grant in DENIED], sync=True
    )
    store.close()
    open_leveldb(path, tuning=SMALL, network=NETWORK).close()
    stopped = 0
    for copy in flipped(path, kind, dice):
        try:
            store = open_leveldb(copy, tuning=SMALL, network=NETWORK)
        except StorageError:
            stopped += 1
            continue
        stopped += is_stopped(store)
        store.close()
    assert stopped, "no flip had any effect: the test shows nothing"


def is_stopped(store: LevelDbStore) -> bool:
    """Whether a start notices the damage; without, nothing may be missing."""
    denied = DeniedGrants(store)
    for grant in DENIED:
        try:
            assert (TOKEN, grant) in denied
        except StorageError:
            continue
    try:
        Ledger(genesis=GENESIS, store=store, clock=world_clock(), offload=InlineOffload())
    except StorageError:
        return True
    assert len(list(store.iterate(layout.DENIED))) == len(DENIED)
    return False


def vote_often(path: Path) -> tuple[MemoryVoteFile, VoteRecord]:
    """A store with many candidates in it, the vote file beside it, and the newest record."""
    store, votes = open_leveldb(path, tuning=SMALL, network=NETWORK), MemoryVoteFile()
    journal = VoteJournal(store=store, votes=votes, key=VOTE_KEY)
    journal.load(0)
    certified = certify(BLOCKS[0].header)
    for view in range(1, CANDIDATES + 1):
        block = replace(BLOCKS[0], header=replace(BLOCKS[0].header, view=view))
        record = VoteRecord(0, view, block_hash(block.header), False, 0, NO_BLOCK)
        journal.save(
            record, [block], [replace(certified, statement=replace(certified.statement, view=view))]
        )
    store.close()
    open_leveldb(path, tuning=SMALL, network=NETWORK).close()
    return votes, record


@pytest.mark.parametrize("kind", ["table data", "table index"])
def test_a_damaged_index_of_votes_never_lets_a_validator_forget_what_it_signed(
    path: Path, dice: random.Random, kind: str
) -> None:
    """It votes on from its newest record, only learns, or does not start; what it reads was written."""
    votes, newest = vote_often(path)
    noticed = 0
    for copy in flipped(path, kind, dice):
        try:
            store = open_leveldb(copy, tuning=SMALL, network=NETWORK)
        except StorageError:
            noticed += 1
            continue
        journal = VoteJournal(store=store, votes=votes.copy(), key=VOTE_KEY)
        try:
            assert journal.load(0) == newest or journal.is_lost
            blocks, certificates = journal.candidates(0)
        except StorageError:
            noticed += 1
        else:
            views = {block.header.view for block in blocks}
            assert len(views) == len(blocks) <= CANDIDATES
            assert all(
                block.header == replace(BLOCKS[0].header, view=block.header.view) for block in blocks
            )
            assert {one.statement.view for one in certificates} <= set(range(1, CANDIDATES + 1))
            noticed += len(blocks) < CANDIDATES
        store.close()
    assert noticed, "no flip had any effect: the test shows nothing"


WRITER = """
import sys
from pathlib import Path
from node.store.leveldb import LevelDbTuning, open_leveldb
from node.store.room import LowWater
print("begin", flush=True)
tuning = LevelDbTuning(65536, 65536, low_water=LowWater(0))
store = open_leveldb(Path(sys.argv[1]), tuning=tuning, network=bytes(32))
number = len(list(store.iterate(b"a")))
while True:
    store.write([(b"%s%08d" % (side, number), bytes(2000)) for side in (b"a", b"b")], sync=True)
    print(number, flush=True)
    number += 1
"""


def test_a_writer_that_is_killed_again_and_again_also_while_it_opens_loses_nothing(
    path: Path, dice: random.Random
) -> None:
    acknowledged = -1
    for _ in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begin\n"
            # None of these lines: it dies while LevelDB recovers.
            for _ in range(dice.choice((0, 0, 1, 30, 90))):
                acknowledged = int(writer.stdout.readline())
            writer.kill()
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        store = open_leveldb(path, tuning=SMALL, network=bytes(32))
        left, right = (len(list(store.iterate(side))) for side in (b"a", b"b"))
        store.close()
        assert left == right
        assert acknowledged + 1 <= left <= acknowledged + 2
    assert acknowledged > 0
