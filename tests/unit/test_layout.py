"""Keys of the databases: distinct, and ordered as their numbers."""

import inspect

import pytest

from node.store import layout


def test_no_prefix_begins_another() -> None:
    prefixes = [
        value for name, value in vars(layout).items() if name.isupper() and isinstance(value, bytes)
    ]
    assert len(prefixes) >= 15
    for prefix in prefixes:
        assert prefix.endswith(b"/")
        assert [other for other in prefixes if other.startswith(prefix)] == [prefix]


def test_every_numbered_key_sorts_by_its_number() -> None:
    numbers = [0, 1, 255, 256, 65_536, 2**31]
    for key in (layout.block, layout.finality, layout.audit):
        assert sorted(numbers, key=key) == numbers
    for keyed in (layout.chunk, layout.audit_token):
        assert sorted(numbers, key=lambda number: keyed(bytes(32), number)) == numbers


@pytest.mark.parametrize("position", [(0, 0), (7, 511), (2**40, 1)])
def test_a_position_reads_back(position: tuple[int, int]) -> None:
    assert layout.read_position(layout.position(*position)) == position


def test_a_height_reads_back_from_its_key() -> None:
    assert layout.read_height(layout.block(77)[len(layout.BLOCK) :]) == 77


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"a/", b"a0"), (b"\xff", None), (b"", None)]
)
def test_the_end_of_a_prefix_is_above_all_its_keys(prefix: bytes, end: bytes | None) -> None:
    assert layout.after(prefix) == end


def test_every_key_function_says_what_it_is() -> None:
    functions = [
        value for name, value in vars(layout).items() if inspect.isfunction(value) and name[0] != "_"
    ]
    assert all(function.__doc__ for function in functions)
