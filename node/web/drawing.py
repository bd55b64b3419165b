"""Pictures that the server draws: the network and its members, and lines over time. SVG without style
or script; every text in it is escaped, and what a colour says is said by a shape or a word too."""

from collections.abc import Sequence
from math import cos, pi, sin
from typing import Final

from markupsafe import Markup

from node.web.words import named, plain
from protocol.control import MemberItem

_WIDTH: Final = 360
_RING_MAX: Final = 12
_COLUMNS: Final = 4
_NAME_CHARS: Final = 14
_NAME_ROOM: Final = 12
_CHART_HEIGHT: Final = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 8, 10, 24


def draw_network(members: Sequence[MemberItem]) -> Markup:
    """Members in a ring, or in rows where they are many; a line leads to each that is reachable."""
    places, height = _places(len(members))
    own = next((place for one, place in zip(members, places, strict=True) if one.is_self), None)
    top = max((one.last_height or 0 for one in members), default=0)
    parts: list[Markup] = []
    for one, (x, y) in zip(members, places, strict=True):
        if own is not None and one.reachable and not one.is_self:
            parts.append(Markup('<line class="link" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(*own, x, y))
    for one, (x, y) in zip(members, places, strict=True):
        # In a ring, a name stands outside, where no line runs through it.
        is_above = len(members) <= _RING_MAX and y < height / 2 - _NAME_ROOM
        parts.append(_member(one, x, y, top, is_above=is_above))
    label = f"{sum(one.reachable for one in members)} of {len(members)} members can be reached"
    return _svg(label, _WIDTH, height, parts)


def _member(one: MemberItem, x: int, y: int, top: int, *, is_above: bool) -> Markup:
    state = "self" if one.is_self else "here" if one.reachable else "gone"
    behind = top - (one.last_height or 0)
    if one.last_height is None:
        where = "height unknown"
    else:
        where = f"at {one.last_height:,}" + (f", {behind:,} behind" if behind > 1 else "")
    mark = "" if one.reachable or one.is_self else " (away)"
    name = plain(named(one.name, one.id))[:_NAME_CHARS] + mark
    first = y - 36 if is_above else y + 28
    return Markup(
        '<g class="member {}"><circle cx="{}" cy="{}" r="{}"/>'
        '<text class="name" x="{}" y="{}">{}</text><text x="{}" y="{}">{}</text></g>'
    ).format(state, x, y, 11 if one.votes else 8, x, first, name, x, first + 16, where)


def _places(count: int) -> tuple[list[tuple[int, int]], int]:
    """Where each of `count` members is, and how high the picture is."""
    if count > _RING_MAX:
        step = _WIDTH // _COLUMNS
        rows = -(-count // _COLUMNS)
        spots = [
            (step // 2 + index % _COLUMNS * step, 26 + index // _COLUMNS * 76) for index in range(count)
        ]
        return spots, rows * 76 + 10
    across, down = 130, 62 + 8 * count
    middle = down + 60
    turn = [2 * pi * index / max(1, count) - pi / 2 for index in range(count)]
    spots = [(round(_WIDTH / 2 + across * cos(one)), round(middle + down * sin(one))) for one in turn]
    return spots, middle + down + 56


def draw_line(
    points: Sequence[tuple[float, float]], *, label: str, unit: str, bound: float | None = None
) -> Markup:
    """Values over time, as (seconds, value), from nought up; `bound` is a line that means something."""
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)
    top = _round_up(max([value for _, value in points] + ([] if bound is None else [bound])))
    across, down = _WIDTH - _LEFT - _RIGHT, _CHART_HEIGHT - _TOP - _BOTTOM

    def spot(at: float, value: float) -> tuple[float, float]:
        return _LEFT + across * (at - first) / (last - first), _TOP + down * (1 - value / top)

    parts = []
    for share in (0.0, 0.5, 1.0):
        y = round(_TOP + down * (1 - share), 1)
        parts.append(
            Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y
            )
        )
        parts.append(
            Markup('<text class="scale" x="{}" y="{}">{}</text>').format(
                _LEFT - 5, y + 4, _number(top * share, unit)
            )
        )
    if bound is not None:
        y = round(spot(first, bound)[1], 1)
        parts.append(
            Markup('<line class="bound" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                _LEFT, _WIDTH - _RIGHT, y, y
            )
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (spot(*point) for point in points))
    parts.append(Markup('<polyline class="line" points="{}"/>').format(path))
    minutes = max(1, round((last - first) / 60))
    parts.append(
        Markup('<text class="start" x="{}" y="{}">{} min ago</text>').format(
            _LEFT, _CHART_HEIGHT - 6, minutes
        )
    )
    parts.append(
        Markup('<text class="end" x="{}" y="{}">now</text>').format(_WIDTH - _RIGHT, _CHART_HEIGHT - 6)
    )
    return _svg(label, _WIDTH, _CHART_HEIGHT, parts)


def draw_share(part: float, *, label: str) -> Markup:
    """How much of a whole is taken, as a bar."""
    width = round(_WIDTH * min(1.0, max(0.0, part)))
    whole = Markup('<rect class="whole" width="{}" height="12" rx="6"/>').format(_WIDTH)
    return _svg(
        label,
        _WIDTH,
        12,
        [whole, Markup('<rect class="part" width="{}" height="12" rx="6"/>').format(width)],
    )


def _svg(label: str, width: int, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="drawing" role="img" aria-label="{}" viewBox="0 0 {} {}">{}</svg>').format(
        label, width, height, Markup("").join(parts)
    )


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50 … that is not below `value`."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if step * factor >= value:
                return step * factor
        step *= 10


def _number(value: float, unit: str) -> str:
    shown = f"{value:.1f}" if value % 1 else f"{value:.0f}"
    return f"{shown} {unit}".strip()
