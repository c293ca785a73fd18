"""A scatter plot as inline SVG, drawn by hand: no library, no network, legible in print and in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 16, 46
_CHARACTER, _LINE, _ASCENT = 6.6, 15, 11

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One artifact. `group` chooses the colour; `detail` is what hovering shows."""

    label: str
    x: float
    y: float
    group: int
    detail: str


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Maps values to pixels: x logarithmic, y linear."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        """Horizontal pixel of a value."""
        share = (log10(value) - log10(self.x_low)) / (log10(self.x_high) - log10(self.x_low))
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """Vertical pixel of a value."""
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)


def scatter(points: Sequence[Point], *, x_label: str, y_label: str, small_is_good: bool) -> str:
    """An SVG of the points with labels that avoid each other, and the line of those that nothing beats on both axes."""
    axes = _axes(points)
    title = escape(f"{y_label} against {x_label}")
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">']
    parts += _grid(axes, x_label, y_label)
    front = pareto(points, small_is_good=small_is_good)
    if len(front) > 1:
        line = " ".join(f"{axes.x(p.x):.1f},{axes.y(p.y):.1f}" for p in front)
        parts.append(f'<polyline class="front" points="{line}"/>')
    taken = [_around(axes, point, 9) for point in points]
    for point in points:
        parts.append(_mark(axes, point, taken))
    return "".join(parts) + "</svg>"


def pareto(points: Sequence[Point], *, small_is_good: bool) -> list[Point]:
    """The points that no other beats in both x and y, from the best x on."""
    best, front = float("-inf"), []
    for point in sorted(points, key=lambda p: (p.x if small_is_good else -p.x, -p.y)):
        if point.y > best:
            best = point.y
            front.append(point)
    return front


def _axes(points: Sequence[Point]) -> Axes:
    xs, ys = [point.x for point in points], [point.y for point in points]
    low, high = min(xs) / 1.6, max(xs) * 1.6
    y_low = max(0.0, 5 * floor((min(ys) - 3) / 5))
    y_high = min(100.0, 5 * ceil((max(ys) + 1) / 5)) if max(ys) <= 100 else max(ys)
    return Axes(x_low=low, x_high=high, y_low=y_low, y_high=max(y_high, y_low + 5))


def _grid(axes: Axes, x_label: str, y_label: str) -> list[str]:
    parts = []
    for value in _y_ticks(axes):
        y = axes.y(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in _x_ticks(axes):
        x = axes.x(value)
        parts.append(f'<line class="grid" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" x1="{x:.1f}" x2="{x:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_short(value)}</text>'
        )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>')
    across = f'transform="translate(13 {(HEIGHT - _BOTTOM + _TOP) / 2}) rotate(-90)"'
    parts.append(f'<text class="axis" {across} text-anchor="middle">{escape(y_label)}</text>')
    return parts


def _y_ticks(axes: Axes) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 25, 50) if (axes.y_high - axes.y_low) / step <= 8)
    return [float(value) for value in range(ceil(axes.y_low / step) * step, floor(axes.y_high) + 1, step)]


def _x_ticks(axes: Axes) -> list[float]:
    decades = range(floor(log10(axes.x_low)), ceil(log10(axes.x_high)) + 1)
    for factors in ((1,), (1, 3), (1, 2, 5), tuple(range(1, 10))):
        ticks = [f * 10.0**d for d in decades for f in factors if axes.x_low <= f * 10.0**d <= axes.x_high]
        if len(ticks) >= 3:
            break
    return ticks


def _short(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def _mark(axes: Axes, point: Point, taken: list[Box]) -> str:
    x, y = axes.x(point.x), axes.y(point.y)
    box = _place(x, y, len(point.label) * _CHARACTER, taken)
    taken.append(box)
    # Anchored on the side of the point, so that a larger font grows away from it.
    if box[0] > x:
        anchor, text_x = "start", box[0]
    elif box[2] < x:
        anchor, text_x = "end", box[2]
    else:
        anchor, text_x = "middle", (box[0] + box[2]) / 2
    return (
        f'<g class="point g{point.group % 6}" tabindex="0" data-detail="{escape(point.detail)}">'
        f"<title>{escape(point.label)}: {escape(point.detail)}</title>{_leader(x, y, box)}"
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6.5"/>'
        f'<text x="{text_x:.1f}" y="{box[1] + _ASCENT:.1f}" text-anchor="{anchor}">{escape(point.label)}</text></g>'
    )


def _place(x: float, y: float, width: float, taken: Sequence[Box]) -> Box:
    """Where a label near (x, y) goes: the first place that is inside and free, else the least bad."""
    beside = [(x + 11, y + 4), (x - 11 - width, y + 4)]
    lefts = (x - width / 2, x + 9, x - width - 9)
    stacked = [(left, y + 4 + sign * rise) for rise in (17, 34, 52) for sign in (-1, 1) for left in lefts]
    boxes = [(left, base - _ASCENT, left + width, base + _LINE - _ASCENT) for left, base in beside + stacked]
    costs = [_outside(box) + sum(_overlap(box, other) for other in taken) + order for order, box in enumerate(boxes)]
    return boxes[costs.index(min(costs))]


def _leader(x: float, y: float, box: Box) -> str:
    """A thin line to a label that had to go far away."""
    left, top, right, bottom = box
    distance = top - y if top > y else y - bottom
    if distance < 16:
        return ""
    end_x, end_y = min(max(x, left + 4), right - 4), top if top > y else bottom
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{end_x:.1f}" y2="{end_y:.1f}"/>'


def _outside(box: Box) -> float:
    left, top, right, bottom = box
    over = (
        max(0.0, _LEFT - left)
        + max(0.0, right - WIDTH + 4)
        + max(0.0, _TOP - 8 - top)
        + max(0.0, bottom - HEIGHT + _BOTTOM)
    )
    return 40 * over


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _around(axes: Axes, point: Point, radius: float) -> Box:
    x, y = axes.x(point.x), axes.y(point.y)
    return x - radius, y - radius, x + radius, y + radius
