"""The compression waterfall: what each step from one artifact to the next removed, gained and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from compact_labse.measure.pages.quality_tables import MAIN, column_title
from compact_labse.measure.pages.summary import Row, Summary, source_of

_DEAR = 0.5  # points of accuracy from which a loss is marked


@dataclass(frozen=True, kw_only=True)
class Step:
    """From one row to another. `named` tells whether the lineage names the source, or it is merely the row before.

    Ratios above 1 are smaller, faster; `points` is the change of accuracy. None where a side was not measured.
    """

    source: Row
    made: Row
    named: bool
    smaller: float | None
    faster: float | None
    points: float | None
    measure: str


def steps(summary: Summary) -> list[Step]:
    """One step per artifact that has a size: from the row that its lineage tells, else from the row before it.

    An artifact that is larger than the one before it and names no source is no step but the start of others.
    """
    sized = [row for row in summary.rows if row.model["artifact_bytes"]]
    made = []
    for number, row in enumerate(sized):
        source = source_of(row, sized)
        before = sized[number - 1] if number else None
        if source is not None:
            made.append(_step(source, row, named=True))
        elif before is not None and row.model["artifact_bytes"] <= before.model["artifact_bytes"]:
            made.append(_step(before, row, named=False))
    return made


def _step(source: Row, made: Row, *, named: bool) -> Step:
    points, measure = _points(source, made)
    cell = next((cell for cell in ("text", *made.speeds) if cell in made.speeds and cell in source.speeds), None)
    faster = None
    if cell is not None:
        faster = made.speeds[cell].main / source.speeds[cell].main
        faster = faster if made.speeds[cell].p95 is None else 1 / faster
    smaller = source.model["artifact_bytes"] / made.model["artifact_bytes"]
    return Step(source=source, made=made, named=named, smaller=smaller, faster=faster, points=points, measure=measure)


def _points(source: Row, made: Row) -> tuple[float | None, str]:
    for dataset, mine in made.quality.items():
        theirs, name = source.quality.get(dataset), mine["headline"]
        for measure in MAIN:
            if theirs and name in theirs["means"] and measure in mine["means"][name]:
                change = mine["means"][name][measure] - theirs["means"][name].get(measure, mine["means"][name][measure])
                return change, column_title(dataset, name, measure)
    return None, ""


def waterfall(summary: Summary) -> str:
    """The steps as HTML: a bar of what is left of the largest artifact, what the step took away, and its price."""
    found = steps(summary)
    if not found:
        return ""
    largest = max(row.model["artifact_bytes"] for row in summary.rows)
    by_row = {id(step.made): step for step in found}
    bars = []
    for row in (row for row in summary.rows if row.model["artifact_bytes"]):
        step = by_row.get(id(row))
        if step is None:
            bars.append(_bar(row, "a start", _share(row, largest), 0.0, []))
            continue
        size, before = _share(row, largest), _share(step.source, largest)
        bars.append(_bar(row, f"from {step.source.label}", size, max(0.0, before - size), _chips(step)))
    measures = dict.fromkeys(step.measure for step in found if step.measure)
    note = f"Points are of {escape(' and '.join(measures))}. " if measures else ""
    if not all(step.named for step in found):
        note += "Where no lineage names the source, a step is taken from the row before it."
    return f'<div class="steps" role="list">{"".join(bars)}</div><p class="soft small">{note}</p>'


def _share(row: Row, largest: int) -> float:
    return 100 * float(row.model["artifact_bytes"]) / largest


def _bar(row: Row, source: str, size: float, gone: float, chips: Sequence[str]) -> str:
    megabytes = f"{row.model['artifact_bytes'] / 1e6:,.1f} MB"
    return (
        f'<div class="step" role="listitem"><div class="name"><b>{escape(row.label)}</b>'
        f"<span>{escape(source)}</span></div>"
        f'<div class="bar"><div><i style="width:{size:.2f}%"></i><u style="width:{gone:.2f}%"></u></div>'
        f"<em>{megabytes}</em></div>"
        f'<div class="chips">{"".join(chips)}</div></div>'
    )


def _chips(step: Step) -> list[str]:
    chips = []
    for ratio, better, worse in ((step.smaller, "smaller", "larger"), (step.faster, "faster", "slower")):
        if ratio is not None:
            shown, word = (ratio, better) if ratio >= 1 else (1 / ratio, worse)
            same = shown < 1.02
            text = f"same {'size' if better == 'smaller' else 'speed'}" if same else f"{shown:.1f}× {word}"
            chips.append(_chip(text, "even" if same else "good" if ratio > 1 else "bad"))
    if step.points is not None:
        kind = "good" if step.points >= 0.05 else "bad" if step.points <= -_DEAR else "even"
        chips.append(_chip(f"{points(step.points)} points", kind, step.measure))
    return chips


def points(change: float) -> str:
    """A change of accuracy with its sign, `±0.0` where it rounds to nothing."""
    return "±0.0" if abs(change) < 0.05 else f"{change:+.1f}".replace("-", "−")


def _chip(text: str, kind: str, note: str = "") -> str:
    title = f' title="{escape(note)}"' if note else ""
    return f'<span class="chip {kind}"{title}>{escape(text)}</span>'
