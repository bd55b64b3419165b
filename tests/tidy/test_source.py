"""Rules of the source that a reader would otherwise have to watch: sizes, names, and guarded calls."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.tidy.source import PACKAGES, nodes, place, python_files, tree

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
BANNED_WORDS = {"manager", "managers", "util", "utils", "common", "helper", "helpers", "misc"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(work|root|tmp|home)(/|\b)")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def test_no_file_is_too_long_to_read() -> None:
    lengths = {
        place(path): len(path.read_text("utf-8").splitlines()) for path in python_files(*PACKAGES, "tests")
    }
    assert {at: lines for at, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_too_long_to_read() -> None:
    long = {
        f"{place(path, node)} {node.name}": lines
        for path, node in nodes(*PACKAGES)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_every_file_says_what_it_is() -> None:
    silent = [
        place(path)
        for path in python_files(*PACKAGES, "tests")
        if tree(path).body and not ast.get_docstring(tree(path))
    ]
    assert silent == []


def _names(node: ast.AST) -> Iterator[str]:
    """The names that `node` gives: of a definition, an argument, a variable or a field."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.arg(arg=name) | ast.alias(asname=str(name)):
            yield name
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            yield name


def _is_banned(name: str) -> bool:
    return not BANNED_WORDS.isdisjoint(word.lower() for word in WORD.findall(name))


@pytest.mark.parametrize("name", ["UtilBox", "key_helpers", "HTTPManager", "common", "_misc_2"])
def test_an_empty_name_is_noticed(name: str) -> None:
    assert _is_banned(name)


@pytest.mark.parametrize("name", ["utility", "commonly", "miscount", "StreamHandler"])
def test_a_word_that_only_looks_like_one_is_not(name: str) -> None:
    assert not _is_banned(name)


def test_no_name_is_an_empty_word() -> None:
    given = {f"{place(path, node)} {name}" for path, node in nodes(*PACKAGES) for name in _names(node)}
    given |= {
        f"{place(path)} {part}"
        for path in python_files(*PACKAGES)
        for part in path.with_suffix("").parts[-3:]
    }
    assert sorted(item for item in given if _is_banned(item.split()[-1])) == []


def test_no_path_of_one_machine_is_in_the_packages() -> None:
    found = [
        f"{place(path)} {line.strip()}"
        for path in python_files(*PACKAGES)
        for line in path.read_text("utf-8").splitlines()
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def test_every_read_of_the_database_verifies_checksums() -> None:
    reads = [
        (path, node)
        for path, node in nodes("node/store")
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"get", "iterator", "raw_iterator"}
        and re.search(r"database|_usable\(\)|snapshot", ast.unparse(node.func.value))
    ]
    unchecked = [
        place(path, node)
        for path, node in reads
        if "verify_checksums=True" not in {ast.unparse(keyword) for keyword in node.keywords}
    ]
    assert len(reads) >= 3, "the database's reads are called something else now: mend this test"
    assert unchecked == []


def test_streams_are_registered_only_behind_the_guards_of_the_network_folder() -> None:
    outside = [
        place(path, node)
        for path, node in nodes(*PACKAGES)
        if isinstance(node, ast.Attribute) and node.attr == "set_stream_handler"
        if not place(path).startswith(("node/net/", "node/bench/raw_stream.py"))
    ]
    assert outside == []


def test_no_error_is_swallowed_unnamed() -> None:
    swallowed = [
        place(path, node)
        for path, node in nodes(*PACKAGES)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
        and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body)
    ]
    assert swallowed == []
