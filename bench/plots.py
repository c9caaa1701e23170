"""Line charts as SVG, by hand: a few hundred points need no library. Pure: numbers in, text out."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 200, 40, 50
COLOURS = ("#1b6ca8", "#d1495b", "#3a7d44", "#edae49", "#6a4c93", "#555555")
TICKS = 5
POINTS_MAX = 200

Points = Sequence[tuple[float, float]]


def chart(title: str, axes: tuple[str, str], series: Mapping[str, Points], *, log_x: bool = False) -> str:
    """One chart with a line for each series; nothing of no points. `log_x`: x is drawn by its logarithm and must be above 0."""
    drawn = {name: _thinned(points) for name, points in series.items() if points}
    if not drawn:
        return ""
    every = [point for points in drawn.values() for point in points]
    scale_x = math.log10 if log_x else float
    low, high = min(scale_x(x) for x, _ in every), max(scale_x(x) for x, _ in every)
    low, top = low if log_x else min(low, 0.0), (max(y for _, y in every) or 1.0) * 1.05
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[str, str]:
        return f"{LEFT + (scale_x(x) - low) / ((high - low) or 1.0) * wide:.1f}", f"{TOP + (1 - y / top) * tall:.1f}"

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
        f'<text x="{LEFT + wide / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(axes[0])}</text>',
        f'<text text-anchor="middle" transform="translate(16 {TOP + tall / 2:.0f}) rotate(-90)">{escape(axes[1])}</text>',
    ]
    for share in (number / TICKS for number in range(TICKS + 1)):
        x, y = low + share * (high - low), share * top
        place_x, place_y = LEFT + share * wide, TOP + (1 - share) * tall
        lines.append(f'<path d="M{LEFT} {place_y:.1f}h{wide}" stroke="#dddddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{place_y + 4:.1f}" text-anchor="end">{short(y)}</text>')
        lines.append(f'<text x="{place_x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(10**x if log_x else x)}</text>')
    for number, (name, points) in enumerate(drawn.items()):
        colour, legend = COLOURS[number % len(COLOURS)], TOP + 16 * number
        places = [at(x, y) for x, y in points]
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(map(",".join, places))}"/>')
        if len(places) <= TICKS:
            lines += [f'<circle r="3" fill="{colour}" cx="{x}" cy="{y}"/>' for x, y in places]
        lines.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{legend}" width="10" height="10" fill="{colour}"/>')
        lines.append(f'<text x="{WIDTH - RIGHT + 26}" y="{legend + 9}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])


def cumulative(histogram: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """From pairs of a bucket's upper end and its count: the percentage that is at most as large."""
    total, seen, points = sum(count for _, count in histogram), 0.0, []
    for upper, count in histogram:
        seen += count
        points.append((upper, 100 * seen / total))
    return points


def short(value: float) -> str:
    """A number for an axis."""
    for limit, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def _thinned(points: Points) -> Points:
    """At most so many of the points, the first and the last among them."""
    if len(points) <= POINTS_MAX:
        return points
    step = (len(points) - 1) / (POINTS_MAX - 1)
    return [points[round(number * step)] for number in range(POINTS_MAX)]
