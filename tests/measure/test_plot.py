"""The scatter plot: what is on the front, and labels that stay inside and apart."""

from __future__ import annotations

import re

import pytest

from compact_labse.measure.plot import HEIGHT, WIDTH, Point, pareto, scatter


def point(label: str, x: float, y: float) -> Point:
    return Point(label=label, x=x, y=y, group=0, detail=label)


def test_the_front_holds_what_nothing_beats():
    points = [
        point("big", 100, 95),
        point("small", 10, 80),
        point("bad", 50, 70),
        point("mid", 40, 90),
        point("tie", 40, 85),
    ]
    assert [p.label for p in pareto(points, small_is_good=True)] == ["small", "mid", "big"]
    assert [p.label for p in pareto(points, small_is_good=False)] == ["big"]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_marks_and_labels_are_inside(count: int):
    points = [point(f"student/model_int{n}", 10.0 + n, 80 + n / 10) for n in range(count)]
    svg = scatter(points, x_label="MB", y_label="%", small_is_good=True)
    for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg):
        assert 0 < float(x) < WIDTH
        assert 0 < float(y) < HEIGHT
    labels = re.findall(r'<text x="([-\d.]+)" y="([-\d.]+)" text-anchor="(\w+)">student', svg)
    assert len(labels) == count
    width = 6.6 * len("student/model_int0")
    before = {"start": 0, "middle": width / 2, "end": width}
    lefts = [float(x) - before[anchor] for x, _, anchor in labels]
    boxes = [(left, float(y) - 11, left + width, float(y) + 4) for left, (_, y, _) in zip(lefts, labels, strict=True)]
    assert all(left > 0 and right < WIDTH and top > 0 and bottom < HEIGHT for left, top, right, bottom in boxes)
    for n, a in enumerate(boxes):
        for b in boxes[n + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_equal_values_do_not_divide_by_zero():
    assert scatter([point("a", 5, 100), point("b", 5, 100)], x_label="x", y_label="y", small_is_good=False)
    assert scatter([point("a", 5, 0)], x_label="x", y_label="y", small_is_good=False)
