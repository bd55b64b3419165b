"""What a bench measured: medians with their extremes, as text for people, JSON, and a drawing."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measurements, with the least and the most of them."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(median(values), min(values), max(values))

    def document(self) -> dict[str, float]:
        return {"median": _rounded(self.median), "min": _rounded(self.least), "max": _rounded(self.most)}

    def __str__(self) -> str:
        return f"{text(self.median)} ({text(self.least)}–{text(self.most)})"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; where something limits it, that too and the ratio of the two, round by round.

    `reach` is what the ratio (or, without a limit, the figure) should come to: at least so much, or at
    most where `is_ceiling`.
    """

    name: str
    unit: str
    figure: Spread
    limit_name: str = ""
    limit: Spread | None = None
    ratio: Spread | None = None
    reach: float | None = None
    is_ceiling: bool = False

    def reached(self) -> bool | None:
        """Whether the median comes to `reach`; None where nothing was to be reached."""
        if self.reach is None:
            return None
        measured = (self.ratio or self.figure).median
        return measured <= self.reach if self.is_ceiling else measured >= self.reach


def paired(
    name: str,
    unit: str,
    figures: Sequence[float],
    limit_name: str,
    limits: Sequence[float],
    *,
    reach: float | None = None,
    is_ceiling: bool = False,
) -> Row:
    """The row of a figure and its limit, measured in turn: `figures[i]` beside `limits[i]`."""
    ratios = [figure / limit for figure, limit in zip(figures, limits, strict=True)]
    spread, limit = Spread.of(figures), Spread.of(limits)
    return Row(name, unit, spread, limit_name, limit, Spread.of(ratios), reach, is_ceiling)


@dataclass(slots=True)
class Report:
    """The rows of one bench, and what has to be known to read them."""

    name: str
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    load: float = field(default_factory=lambda: os.getloadavg()[0])

    def document(self) -> Mapping[str, Any]:
        """The JSON document of the CLI contract."""
        figures: dict[str, Any] = {"load_average": _rounded(self.load), "cpus": os.cpu_count() or 1}
        ratios: dict[str, Any] = {}
        for row in self.rows:
            key = row.name.replace(" ", "_").replace(",", "")
            figures[key] = {**row.figure.document(), "unit": row.unit}
            if row.limit is not None and row.ratio is not None:
                figures[f"{key}_limit"] = {
                    **row.limit.document(),
                    "unit": row.unit,
                    "what": row.limit_name,
                }
                ratios[key] = row.ratio.document()
            if row.reach is not None:
                (ratios if row.ratio is not None else figures)[key]["reach"] = row.reach
        return {"v": 1, "name": self.name, "figures": figures, "ratios": ratios, "notes": self.notes}

    def json(self) -> str:
        return msgspec.json.encode(self.document()).decode()

    def __str__(self) -> str:
        lines = [f"{self.name}: median (least–most), load average {self.load:.2f}, {os.cpu_count()} CPUs"]
        lines += [f"  {note}" for note in self.notes]
        for row in self.rows:
            lines.append(f"  {row.name}: {row.figure} {row.unit}{_reach(row) if not row.ratio else ''}")
            if row.limit is not None and row.ratio is not None:
                lines.append(f"    beside {row.limit_name}: {row.limit} {row.unit}")
                lines.append(f"    ratio {row.ratio}{_reach(row)}")
        return "\n".join(lines)


def text(value: float) -> str:
    """Three significant figures, and the thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _reach(row: Row) -> str:
    if row.reach is None:
        return ""
    sign = "≤" if row.is_ceiling else "≥"
    return f", to reach {sign} {text(row.reach)}: {'yes' if row.reached() else 'NO'}"


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
