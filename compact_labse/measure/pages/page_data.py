"""The data that the page's script draws: points with their figures for the plots, and pictures of the space."""

from __future__ import annotations

import json
from typing import Any

from compact_labse.measure.origins import dtype_of
from compact_labse.measure.pages.quality_tables import column_title, quality_columns
from compact_labse.measure.pages.summary import Row, Summary, Values

_MB = 1e6
_MORE_AXES = (("mining", "f1", "mining F1"), ("search", "recall_1", "search R@1"), ("search", "mrr", "search MRR"))


def embedded(data: Any) -> str:
    """JSON that may stand inside a script element: no text in it can close the element."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def plot_data(summary: Summary) -> Values:
    """Axes (key, title, unit, logarithmic, whether low is good) and one point per artifact with its figures.

    `first` names the axes that the two plots show at the start: size and speed against the accuracy that most artifacts
    have.
    """
    axes = [_axis("size", "file size", "MB", True, True), _axis("shipped", "file and tokenizer", "MB", True, True)]
    axes += [_axis("peak", "peak memory", "MB", True, True), _axis("cold", "cold start", "ms", True, True)]
    axes += [_speed_axis(summary, cell) for cell in summary.cells]
    columns = quality_columns(summary)
    axes += [_axis("/".join(column), column_title(*column), "", False, False) for column in columns]
    for kind, measure, title in _MORE_AXES:
        datasets = dict.fromkeys(name for row in summary.rows for name in row.more.get(kind, {}))
        axes += [_axis(f"{kind}/{name}/{measure}", f"{name} {title}", "", False, False) for name in datasets]
    points = [_point(row) for row in summary.rows]
    known = {key for point in points for key in point["values"]}
    axes = [axis for axis in axes if axis["key"] in known]
    return {"axes": axes, "points": points, "first": _first(axes, points, ["/".join(column) for column in columns])}


def _first(axes: list[Values], points: list[Values], qualities: list[str]) -> list[list[str]]:
    keys = [axis["key"] for axis in axes]
    have = {key: sum(key in point["values"] for point in points) for key in keys}
    quality = max(qualities, key=lambda key: have[key], default=keys[0] if keys else "")
    speeds = [key for key in keys if key.startswith("speed/")]
    speed = "speed/text" if "speed/text" in speeds else speeds[0] if speeds else "peak"
    chosen = [[x, quality] for x in ("size", speed) if x in keys and x != quality]
    return chosen or [[quality, quality]] * bool(quality)


def _axis(key: str, title: str, unit: str, log: bool, low: bool) -> Values:
    return {"key": key, "title": title, "unit": unit, "log": log, "low": low}


def _speed_axis(summary: Summary, cell: str) -> Values:
    timed = any(row.speeds[cell].p95 is not None for row in summary.rows if cell in row.speeds)
    title = f"{cell.replace('x', '×')} p50" if timed else f"{cell}: sentences per second"
    return _axis(f"speed/{cell}", title, "ms" if timed else "", True, timed)


def _point(row: Row) -> Values:
    size, shipped = row.model["artifact_bytes"], row.model["artifact_bytes"] + row.model["tokenizer_bytes"]
    values: dict[str, float | None] = {"size": size / _MB or None, "shipped": shipped / _MB if size else None}
    values |= {"peak": row.peak_bytes / _MB if row.peak_bytes else None, "cold": row.cold_start_ms}
    values |= {f"speed/{cell}": speed.main for cell, speed in row.speeds.items()}
    for dataset, found in row.quality.items():
        for name, means in found["means"].items():
            values |= {f"{dataset}/{name}/{measure}": value for measure, value in means.items()}
    for kind, measure, _ in _MORE_AXES:
        for dataset, found in row.more.get(kind, {}).items():
            values[f"{kind}/{dataset}/{measure}"] = found["means"][found["headline"]].get(measure)
    kept = {key: round(value, 4) for key, value in values.items() if value is not None}
    return {"label": row.label, "runtime": row.model["runtime"], "dtype": dtype_label(row.model), "values": kept}


def dtype_label(model: Values) -> str:
    """The number type of an artifact; records that do not hold it yet are read by the file's name."""
    if "dtype" in model:
        return str(model["dtype"])
    named = dtype_of(model["spec"])
    return named if named != "fp32" or model["runtime"] == "torch" or "." in model["spec"] else "unknown"


def space_data(summary: Summary) -> Values | None:
    """Planes and histograms of every artifact on the data set that most have, PUD before others; None without any.

    All planes are turned onto the reference's, because two encoders' planes have no common axes.
    """
    having = {name: [row for row in summary.rows if name in row.more.get("space", {})] for name in summary.datasets}
    dataset = max(having, key=lambda name: (len(having[name]), name == "pud"), default="")
    if not dataset or not having[dataset]:
        return None
    models: list[Values] = []
    for row in having[dataset]:
        values = row.more["space"][dataset]
        model = {"label": row.label, "histograms": values["histograms"], "shown": values["picture"]["shown"]}
        for kind in ("pca", "umap"):
            model[kind] = _turned(values["picture"][kind], models[0][kind] if models else None)
        separated = {code: round(figures["separation"], 1) for code, figures in values["languages"].items()}
        model["separated"] = {"all": round(values["means"][values["headline"]]["separation"], 1)} | separated
        models.append(model)
    return {"dataset": dataset, "shared": values["shared_english"], "models": models}


def _turned(points: Values | None, onto: Values | None) -> Values | None:
    if points is None or onto is None or {k: len(v) for k, v in points.items()} != {k: len(v) for k, v in onto.items()}:
        return points
    import numpy as np  # not at the top: a report without pictures needs no numpy

    from compact_labse.measure.quality.space import turned, whole_numbers

    stacked, target = (np.array([point for side in each.values() for point in side], float) for each in (points, onto))
    numbers = iter(whole_numbers(turned(stacked, target)))
    return {name: [next(numbers) for _ in side] for name, side in points.items()}
