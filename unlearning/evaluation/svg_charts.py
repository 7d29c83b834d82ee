"""Charts as SVG text, for a report that needs no script. Colours come from the page's CSS variables.

Every text that a person or a model wrote goes through `escape`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 40, 12, 30
LEAST = 1e-6  # what a logarithmic axis shows as nothing
MARK_EVERY = 13  # pixels between the numbers at the ends of curves

Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One curve: its name, its points (x rising), its CSS class ("probe", "control", …)."""

    name: str
    points: Sequence[Point]
    kind: str = "probe"


def curves(series: Sequence[Series], title: str, share: bool = True) -> str:
    """Curves over steps, each with its number at its end.

    Args:
        series: In the order of their numbers, 1, 2, 3 …
        title: For readers who cannot see it.
        share: Whether y is a probability, 0 to 1; else the axis ends above the highest point.
    """
    points = [point for one in series for point in one.points]
    last = max((x for x, _ in points), default=1.0) or 1.0
    top = 1.0 if share else max((y for _, y in points), default=1.0) * 1.05 or 1.0

    def place(x: float, y: float) -> Point:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / last, TOP + (HEIGHT - TOP - BOTTOM) * (1 - y / top)

    marks = [top * part / 4 for part in range(5)]
    grid = [_across(place(0, y)[1], f"{y:.0%}" if share else f"{y:.3g}") for y in marks]
    steps = sorted({round(last * part / 4) for part in range(5)})
    grid += [_below(place(x, 0)[0], f"step {x}" if x == steps[-1] else str(x)) for x in steps]
    lines = [_line([place(x, y) for x, y in one.points], one.kind) for one in series if one.points]
    ends = [(place(*one.points[-1]), number) for number, one in enumerate(series, 1) if one.points]
    return _picture("".join(grid + lines + _numbers(ends)), title)


def scatter(groups: Sequence[Series], title: str, names: Sequence[Sequence[str]]) -> str:
    """Points before (across) against after (up), both logarithmic; the diagonal is "unchanged".

    Args:
        groups: Points (before, after) of each kind.
        title: For readers who cannot see it.
        names: For each group and point, what it is: shown when one rests on it.
    """
    place = _log_place(WIDTH, HEIGHT + 120)
    marks = [10.0**power for power in range(-6, 1)]
    grid = [_across(place(LEAST, y)[1], _percent(y)) for y in marks]
    grid += [_below(place(x, LEAST)[0], _percent(x), HEIGHT + 120) for x in marks[::2]]
    (x1, y1), (x2, y2) = place(LEAST, LEAST), place(1, 1)
    grid.append(f'<line class="diagonal" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
    dots = [
        _dot(place(x, y), group.kind, f"{name}: {_percent(x)} → {_percent(y)}")
        for group, own in zip(groups, names, strict=True)
        for (x, y), name in zip(group.points, own, strict=True)
    ]
    return _picture("".join(grid + dots), title, HEIGHT + 120)


def _log_place(width: float, height: float) -> Callable[[float, float], Point]:
    def along(value: float) -> float:
        return 1 + math.log10(max(LEAST, min(1.0, value))) / 6

    def place(x: float, y: float) -> Point:
        return LEFT + (width - LEFT - RIGHT) * along(x), TOP + (height - TOP - BOTTOM) * (1 - along(y))

    return place


def _percent(p: float) -> str:
    if p >= 0.01:
        return f"{p:.0%}"
    return f"{100 * p:.4f}".rstrip("0").rstrip(".") + "%" if 100 * p >= 0.0001 else "≤ 0.0001%"


def _across(y: float, words: str) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(words)}</text>'
    )


def _below(x: float, words: str, height: float = HEIGHT) -> str:
    return f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{escape(words)}</text>'


def _line(points: Sequence[Point], kind: str) -> str:
    path = "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path class="line {escape(kind)}" d="{path}"/>'


def _numbers(ends: Sequence[tuple[Point, int]]) -> list[str]:
    """The number of each curve at its end, moved apart where they would cover one another."""
    found, lowest = [], -math.inf
    for (x, y), number in sorted(ends, key=lambda end: end[0][1]):
        lowest = max(y, lowest + MARK_EVERY)
        found.append(f'<text class="number" x="{x + 8:.1f}" y="{lowest + 4:.1f}">{number}</text>')
    return found


def _dot(place: Point, kind: str, words: str) -> str:
    shape = f'<circle class="dot {escape(kind)}" cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="4.5">'
    return f"{shape}<title>{escape(words)}</title></circle>"


def _picture(inside: str, title: str, height: float = HEIGHT) -> str:
    room = height + 60  # numbers that were moved apart may need some
    return (
        f'<svg viewBox="0 0 {WIDTH} {room}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"{inside}</svg>"
    )
