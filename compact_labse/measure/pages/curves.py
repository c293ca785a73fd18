"""Lines through measured points as a self-contained SVG, both axes logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log10

NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 18, 48
COLOURS = ("#1f5fa8", "#c2571a", "#2b7a4b", "#8a3a8f", "#7a6a00", "#444444")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A named line; points are (x, y), both above 0."""

    label: str
    points: Sequence[tuple[float, float]]


def curves(drawn: Sequence[Curve], x_label: str, y_label: str) -> str:
    """An SVG of the curves, with a tick at every x that was measured and a legend at the right."""
    xs = sorted({x for curve in drawn for x, _ in curve.points})
    ys = [y for curve in drawn for _, y in curve.points]
    low, high = min(ys) / 1.3, max(ys) * 1.3

    def across(x: float) -> float:
        return _LEFT + _share(x, xs[0], xs[-1]) * (WIDTH - _LEFT - _RIGHT)

    def up(y: float) -> float:
        return HEIGHT - _BOTTOM - _share(y, low, high) * (HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f"<title>{escape(y_label)} against {escape(x_label)}</title>",
    ]
    for x in xs:
        parts.append(f'<text x="{across(x):.1f}" y="{HEIGHT - 30}" text-anchor="middle">{x:g}</text>')
        parts.append(_line(across(x), _TOP, across(x), HEIGHT - _BOTTOM))
    for y in _ticks(low, high):
        parts.append(f'<text x="{_LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{y:,g}</text>')
        parts.append(_line(_LEFT, up(y), WIDTH - _RIGHT, up(y)))
    for number, curve in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        places = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in sorted(curve.points))
        parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in curve.points:
            note = escape(f"{curve.label}: {y:,.4g} at {x:g}")
            parts.append(
                f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="4" fill="{colour}"><title>{note}</title></circle>'
            )
        row = _TOP + 18 * number + 8
        parts.append(f'<circle cx="{WIDTH - _RIGHT + 16}" cy="{row - 4}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - _RIGHT + 26}" y="{row}">{escape(curve.label)}</text>')
    parts.append(f'<text x="{_LEFT}" y="{HEIGHT - 8}">{escape(x_label)} (up: {escape(y_label)})</text>')
    return "".join(parts) + "</svg>\n"


def _share(value: float, low: float, high: float) -> float:
    return (log10(value) - log10(low)) / (log10(high) - log10(low)) if high > low else 0.5


def _ticks(low: float, high: float) -> list[float]:
    candidates = [step * 10.0**power for power in range(-4, 8) for step in (1, 2, 5)]
    return [tick for tick in candidates if low <= tick <= high]


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'
