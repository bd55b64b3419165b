"""Benches come to an end and give a report of the agreed shape. What they measure is judged by nobody."""

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.bench import BENCHES as offered
from node.bench.__main__ import BENCHES, main
from node.bench.away import measure_absence
from node.bench.drawing import draw
from node.bench.growth import GrowthSizes, bench_growth
from node.bench.ledger import LedgerSizes, bench_ledger
from node.bench.page import PageSizes, bench_page
from node.bench.proofs import ProofsSizes, bench_grants
from node.bench.report import Report, Row, Spread, paired
from protocol.errors import Code
from protocol.exits import exit_status


def document(report: Report) -> Mapping[str, Any]:
    loaded = json.loads(report.json())
    assert isinstance(loaded, dict)
    return loaded


def test_the_ledger_bench_compares_itself_with_bare_checks() -> None:
    report = bench_ledger(LedgerSizes(records=5, rounds=2, transactions_per_round=10))
    found = document(report)
    assert (found["v"], found["name"]) == (1, "ledger")
    for key in ("mix_per_core", "grants_per_core", "mints_per_core", "mix_on_the_wall"):
        assert set(found["ratios"][key]) >= {"median", "min", "max"}
        assert found["figures"][key]["unit"] == "transactions/s"
    assert found["ratios"]["mix_per_core"]["reach"] == 0.5
    assert found["ratios"]["mix_on_the_wall_signatures_in_threads"]["reach"] == 0.9
    assert 0 < found["ratios"]["state_map_update_with_230_transactions"]["median"] < 1


def test_the_growth_bench_compares_many_tokens_with_few() -> None:
    report = bench_growth(GrowthSizes(tokens=(3, 40), records=5, rounds=2, transactions_per_round=10))
    few, many = report.rows
    assert (few.name, many.name, many.limit_name) == ("at 3 tokens", "at 40 tokens", "at 3 tokens")
    assert many.limit == few.figure
    assert (few.reach, many.reach, many.is_ceiling) == (None, 1.5, True)


def test_the_proofs_bench_weighs_proofs_that_verify(tmp_path: Path) -> None:
    sizes = ProofsSizes(tokens=(40,), proofs=3, rounds=2, days=(1, 2), epochs=1)
    size, beside, check = trio.run(bench_grants, tmp_path, 40, sizes)
    assert (size.reach, size.is_ceiling) == (2_500, True)
    assert beside.figure == size.figure
    assert beside.ratio is not None
    assert beside.ratio.least > 1
    assert check.ratio is not None


def test_the_page_bench_compares_pages_with_a_small_file() -> None:
    opened, first, whole, found, *_ = bench_page(PageSizes(records=40, rounds=2)).rows
    assert (first.name, first.reach, first.is_ceiling) == (
        "first byte of the list of 40 records",
        500,
        True,
    )
    assert whole.ratio is not None
    assert whole.figure.least > first.figure.least > 0
    assert found.limit == whole.limit
    assert opened.figure.median > 0


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to paint a page")
def test_the_page_bench_asks_a_browser_when_it_has_painted() -> None:
    *_, paint, beside = bench_page(PageSizes(records=40, rounds=2)).rows
    assert (paint.name, paint.reach) == ("first paint of the list of 40 records", 500)
    assert beside.limit is not None
    assert min(paint.figure.least, beside.limit.least) > 0


def test_a_client_that_was_away_fetches_a_header_for_each_epoch(tmp_path: Path) -> None:
    away = trio.run(partial(measure_absence, tmp_path, days=1, epochs=2))
    assert away.blocks == 24 * 60 * 4 + 2
    assert away.leaping.headers == 3
    assert away.following.headers == away.blocks
    assert away.leaping.size < away.following.size / 100


def test_a_ratio_is_of_figures_and_limits_of_the_same_round() -> None:
    row = paired("one", "MB/s", [10, 40, 30], "two", [20, 40, 10], reach=0.6)
    assert row.ratio == Spread(1, 0.5, 3)
    assert row.reached()


def test_a_ceiling_is_reached_from_below() -> None:
    assert Row("start", "s", Spread.of([2]), reach=3, is_ceiling=True).reached()
    assert not Row("start", "s", Spread.of([4]), reach=3, is_ceiling=True).reached()


def test_a_drawing_says_what_the_report_says() -> None:
    drawn = draw(Report("x", rows=[paired("a < b", "MB/s", [1234], "bare", [2000])]))
    assert drawn.startswith("<svg ")
    assert "a &lt; b: 0.617" in drawn
    assert "1,234 MB/s" in drawn


def test_the_command_line_offers_every_bench() -> None:
    assert offered == BENCHES


def test_an_unknown_bench_is_an_error_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing"]) == exit_status(Code.USAGE)
    assert "there is no bench nothing" in capsys.readouterr().err


def test_an_error_is_json_where_the_figures_would_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nothing", "--json"]) == exit_status(Code.USAGE)
    assert json.loads(capsys.readouterr().err)["code"] == Code.USAGE
