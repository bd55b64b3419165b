"""A bench's rows as an SVG file: each figure as a bar, over the bar of its limit."""

from html import escape

from node.bench.report import Report, Row, Spread, text

_WIDTH, _LEFT, _BAR, _ROW = 900, 330, 16, 64
_SCALE = _WIDTH - _LEFT - 190
_FIGURE, _LIMIT, _INK = "#2b6cb0", "#cbd5e0", "#1a202c"


def draw(report: Report) -> str:
    """The text of the SVG file. Bars of one row share a scale; rows do not."""
    height = 50 + _ROW * len(report.rows)
    title = f"{report.name}, load average {report.load:.2f}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="25" font-size="16">{escape(title)}</text>',
    ]
    for index, row in enumerate(report.rows):
        parts += _row(row, 45 + _ROW * index)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(row: Row, top: int) -> list[str]:
    most = max(row.figure.most, row.limit.most if row.limit else 0) or 1
    label = row.name if row.ratio is None else f"{row.name}: {text(row.ratio.median)}"
    parts = [f'<text x="10" y="{top + 13}">{escape(label)}</text>']
    parts += _bar(row.figure, most, top, _FIGURE, row.unit)
    if row.limit is not None:
        parts.append(f'<text x="10" y="{top + _BAR + 17}" fill="#718096">{escape(row.limit_name)}</text>')
        parts += _bar(row.limit, most, top + _BAR + 4, _LIMIT, row.unit)
    return parts


def _bar(spread: Spread, most: float, top: int, colour: str, unit: str) -> list[str]:
    width, start, end = (_SCALE * value / most for value in (spread.median, spread.least, spread.most))
    middle = top + _BAR / 2
    return [
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{_LEFT + start:.1f} {middle}H{_LEFT + end:.1f}" stroke="{_INK}"/>',
        f'<text x="{_LEFT + _SCALE + 8}" y="{top + 13}">{text(spread.median)} {escape(unit)}</text>',
    ]
