"""The table of the network's threats names limits and tests that exist."""

import ast
from pathlib import Path

import pytest

from protocol import limits
from tests.threats import THREATS, Threat

TESTS = Path(__file__).parent.parent
EXPECTED = (
    "T-PB T-HND T-PRE T-BIG T-SLOW T-CONN T-STR T-STRANGER T-PLAIN T-FORGE T-SPAM T-BURST T-REPLAY T-SEQ "
    "T-TOPIC T-IHAVE T-CODEC T-ECL T-ORACLE T-EQUIV T-LOG"
)


def test_every_threat_of_the_network_has_its_row() -> None:
    assert [threat.name for threat in THREATS] == EXPECTED.split()


@pytest.mark.parametrize("threat", THREATS, ids=lambda one: one.name)
def test_a_threats_limits_and_tests_exist(threat: Threat) -> None:
    assert [name for name in threat.limits if not hasattr(limits, name)] == []
    assert threat.tests
    missing = []
    for name in threat.tests:
        file, _, function = name.partition("::")
        nodes = ast.walk(ast.parse((TESTS / file).read_text("utf-8")))
        functions = {
            node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if function not in functions:
            missing.append(name)
    assert missing == []
