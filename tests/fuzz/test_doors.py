"""Hostile bytes at every door: each is refused in the one proper way, or is exactly what was understood.

The cases follow from a seed that is new in every run and printed; CHARTMESH_FUZZ_SEED repeats one, and
CHARTMESH_FUZZ_CASES throws more at each door. For hours of it: `uv run python -m tests.fuzz`.
"""

import inspect
import os
import random
import secrets
import sys
import tracemalloc

import pytest

from protocol import limits
from protocol.transactions import Body
from tests.fuzz import corpus
from tests.fuzz.doors import ALL, BINARY, DECODERS, JSON, Door, judge
from tests.fuzz.mutate import DEEPEST, everywhere, header, put, tokens
from tests.fuzz.run import pool_of, samples_of, storm, strike
from tests.fuzz.values import full_name, wire_types
from tests.sample_transactions import SIGNED

SEED = os.environ.get("CHARTMESH_FUZZ_SEED") or secrets.token_hex(4)
CASES = int(os.environ.get("CHARTMESH_FUZZ_CASES", "400"))
FIRST = random.Random(0)

JSON_FORMS = [
    b"",
    b"[" * 1_000_000,
    b'{"a":' * 200_000,
    b"nul",
    b"NaN",
    b"-Infinity",
    b"1e999999",
    b"9" * 5000,
    b'{"request":"status","request":"peers"}',
    b'{"request":"status","v":1}',
    b'{"request":"\\ud800"}',
    b'{"request":"my-code","clinic":"\\ud800"}',
    b'{"request":"my-code","clinic":"\\udfff\\ud800","count":1}',
    b'{"request":"my-code","clinic":"a","count":1.0}',
    b'{"request":"my-code","clinic":"a","count":1e0}',
    b'{"request":"my-code","clinic":"a","count":true}',
    b'{"request":"my-code","clinic":"' + b"a" * 100_000 + b'"}',
    b'{"request":"my-code","clinic":"\xff"}',
    b'{"type":"progress","step":"\\ud800"}',
    b'{"type":"error","code":"x","error":"y","refusals":null}',
    b"\xef\xbb\xbf{}",
    b'{"request":"status"}\x00',
]


def told(findings: object) -> str:
    return f"seed {SEED}: {findings}"


def names(door: Door) -> str:
    return door.name


@pytest.mark.parametrize("door", ALL, ids=names)
def test_every_door_lets_in_what_is_valid(door: Door) -> None:
    dice = random.Random(f"valid/{door.name}")
    assert [raw.hex() for raw in samples_of(door, dice, 20) if not judge(door, raw)] == []


def test_every_type_of_the_wire_has_a_door() -> None:
    """A new type, message or transaction is fuzzed from the day it exists."""
    behind = {door.name for door in ALL}
    assert [full_name(kind) for kind in wire_types() if full_name(kind) not in behind] == []
    assert {type(body) for body, _ in SIGNED} == set(Body.__args__), "tests/sample_transactions.py"


def test_every_decoder_has_a_door() -> None:
    wire_types()  # imports every module
    found = {
        f"{module.__name__}.{name}"
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").startswith(("protocol.", "node.net."))
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("decode_") and function.__module__ == module.__name__
    }
    found.discard("protocol.codec.decode_own")  # what this program wrote itself, under a root it compared
    assert len(found) >= 20
    assert sorted(found - {door.function for door in ALL}) == []


@pytest.mark.parametrize("door", BINARY, ids=names)
def test_no_hostile_item_in_any_place_gets_past_a_door(door: Door) -> None:
    raw = min(samples_of(door, random.Random(f"places/{door.name}")), key=len)
    findings = [finding for _, spoiled in everywhere(raw) if (finding := strike(door, spoiled))]
    assert not findings, told(findings[0])


@pytest.mark.parametrize("form", DEEPEST)
def test_a_megabyte_of_nesting_or_nothing_is_refused_at_every_door(form: str) -> None:
    findings = [finding for door in BINARY if (finding := strike(door, DEEPEST[form]))]
    for door in DECODERS:
        raw = samples_of(door, FIRST, 1)[0]
        last = tokens(raw)[-1]
        findings += [finding] if (finding := strike(door, put(raw, last, DEEPEST[form]))) else []
    assert not findings, told(findings[0])


@pytest.mark.parametrize("door", ALL, ids=names)
def test_a_storm_of_spoiled_bytes_gets_past_no_door(door: Door) -> None:
    findings = list(storm(door, SEED, CASES, pool_of(SEED)[:40]))
    assert not findings, told(findings[0])


@pytest.mark.parametrize("raw", JSON_FORMS, ids=lambda raw: raw[:30].decode("latin-1"))
def test_hostile_json_is_refused_or_understood(raw: bytes) -> None:
    findings = [finding for door in JSON if (finding := strike(door, raw))]
    assert not findings, told(findings[0])


def test_a_length_that_lies_reserves_nothing() -> None:
    """Else 30 bytes from a stranger could ask for gigabytes."""
    tracemalloc.start()
    try:
        for door in BINARY:
            raw = samples_of(door, FIRST, 1)[0]
            for token in tokens(raw):
                if token.kind in ("array", "bin", "str"):
                    head = header(token.kind, 2**32 - 1)
                    judge(door, raw[: token.start] + head + raw[token.body :])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8 * limits.MIB


def test_the_corpus_fares_as_it_did() -> None:
    doors = {door.name: door for door in corpus.DOORS}
    lines = list(corpus.read())
    assert {line.door for line in lines} == set(doors), "doors came or went: renew the corpus"
    changed = [
        f"{line.door}: {line.raw.hex()} was {line.verdict} ({line.reason})"
        for line in lines
        if judge(doors[line.door], line.raw) != (line.verdict == "in")
    ]
    assert changed == [], "the format changed: if it was meant to, renew the corpus"
