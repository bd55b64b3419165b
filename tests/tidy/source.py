"""The project's own files, read as text and as syntax trees, for the rules of this folder."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("protocol", "node", "cli")


def python_files(*folders: str) -> list[Path]:
    """Every Python file of ours under `folders` of the project, in path order."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    )


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    """Where something is, as editors open it: `protocol/keys.py:12`."""
    line = getattr(node, "lineno", 1)
    return f"{path.relative_to(ROOT)}:{line}"


def nodes(*folders: str) -> Iterator[tuple[Path, ast.AST]]:
    """Every node of every syntax tree under `folders`."""
    for path in python_files(*folders):
        for node in ast.walk(tree(path)):
            yield path, node
