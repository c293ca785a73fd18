"""What changed between two files of results, and what of it noise does not explain.

Speeds are compared by rounds with the exact Mann-Whitney test; accuracies, which repeat exactly, by a bootstrap over
the languages they were measured in; sizes as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from compact_labse.errors import UserError
from compact_labse.measure.pages.entries import Entry, Table, number
from compact_labse.measure.pages.summary import cell_name
from compact_labse.measure.results import Record, read

ALPHA, DRAWS, SEED = 0.05, 2000, 17
QUALITY = ("xx_en", "en_xx", "spearman")
FILE = "file bytes"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure before and after. `ratio` is new over old, `worse_by` by which share it got worse (below 0: better).

    `verdict`: "worse" or "better" beyond the threshold and beyond doubt, "same" within the threshold, "noise" if doubt
    remains, "unjudged" if there are too few rounds to tell. `p` is the probability that noise alone gives as much.
    """

    label: str
    figure: str
    old: float
    new: float
    ratio: float
    worse_by: float
    p: float | None
    verdict: str

    def record(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)


def percent(text: str) -> float:
    """`5%` or `0.05` as 0.05; UserError for what is neither, or not between 0 and 1."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise UserError(f"--threshold must be a share such as 5% or 0.05, got {text!r}") from None
    if not 0 <= value < 1:
        raise UserError(f"--threshold must be at least 0 and below 100 %, got {text!r}")
    return value


def read_results(path: Path) -> list[Record]:
    """The records of a file or of `results.jsonl` in a folder; UserError if there are none."""
    file = path / "results.jsonl" if path.is_dir() else path
    records = read(file)
    if not records:
        raise UserError(f"{file} has no results: expected the results.jsonl that `compact-labse bench` writes")
    return records


def find_changes(old: Sequence[Record], new: Sequence[Record], threshold: float) -> list[Change]:
    """Every figure that both have, the worst first. Artifacts are matched by label and runtime.

    UserError if they have nothing in common.
    """
    before, after = figures(old), figures(new)
    found = [_change(key, before[key], after[key], threshold) for key in before if key in after]
    if not found:
        labels = [", ".join(sorted({label for label, _ in side})) or "none" for side in (before, after)]
        raise UserError(f"the two files have no figure in common: the old one has {labels[0]}, the new one {labels[1]}")
    return sorted(found, key=lambda change: -change.worse_by)


def other_conditions(old: Sequence[Record], new: Sequence[Record]) -> list[str]:
    """What the two did not have in common, for a warning: a machine, a version of a package, what was timed."""
    a, b = old[-1], new[-1]
    notes = [f"{key}: {a['machine'].get(key)} and {b['machine'].get(key)}" for key in ("cpu", "cores", "system")
             if a["machine"].get(key) != b["machine"].get(key)]  # fmt: skip
    packages = sorted(a["versions"].keys() | b["versions"].keys())
    pairs = ((name, a["versions"].get(name), b["versions"].get(name)) for name in packages)
    notes += [f"{name}: {before} and {after}" for name, before, after in pairs if before != after]
    timed, now = _settings(old), _settings(new)
    changed = ((cell, key) for cell in timed.keys() & now.keys() for key in timed[cell])
    return notes + sorted(
        f"{cell}, {key}: {timed[cell][key]} and {now[cell].get(key)}"
        for cell, key in changed
        if timed[cell][key] != now[cell].get(key)
    )


def _settings(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """The newest settings of each cell that was timed."""
    speeds = sorted((each for each in records if each["kind"] == "speed"), key=lambda each: each["date"])
    return {cell_name(each): {k: v for k, v in each["config"].items() if k != "round"} for each in speeds}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The values of one figure: rounds of a speed, languages of an accuracy, or one size. `judge` gives p."""

    values: dict[Any, float]
    higher_is_better: bool
    judge: Callable[[dict[Any, float], dict[Any, float]], float | None]


def figures(records: Sequence[Record]) -> dict[tuple[str, str], Figure]:
    """All figures of the newest measurements, by label (with its runtime) and name."""
    found: dict[tuple[str, str], Figure] = {}
    for each in sorted(records, key=lambda record: record["date"]):
        label = f"{each['model']['label']} [{each['model']['runtime']}]"
        for name, key, value, better, judge in _figures(each):
            known = found.get((label, name))
            values = {**known.values, key: value} if known and judge is mann_whitney else {key: value}
            if isinstance(value, dict):
                values = value
            found[label, name] = Figure(values=values, higher_is_better=better, judge=judge)
    return found


def _figures(each: Record) -> Iterator[tuple[str, Any, Any, bool, Any]]:
    values, model = each["values"], each["model"]
    yield FILE, 0, float(model["artifact_bytes"]), False, _certain
    if each["kind"] == "speed":
        cell, key = cell_name(each), each["config"]["round"]
        if "model_ms" in values:
            yield f"{cell} p50 ms", key, values["model_ms"]["p50"], False, mann_whitney
        else:
            yield f"{cell} sentences/s", key, values["sentences_per_s"], True, mann_whitney
        yield f"{cell} peak bytes", key, float(values["memory"]["peak"]), False, mann_whitney
        yield f"{cell} cold start ms", key, values["cold_start_ms"], False, mann_whitney
    if each["kind"] == "quality":
        for measure in QUALITY:
            by_language = {code: row[measure] for code, row in values["languages"].items() if row.get(measure)}
            if by_language:
                yield f"{each['config']['dataset']} {measure}", None, by_language, True, bootstrap


def _change(key: tuple[str, str], old: Figure, new: Figure, threshold: float) -> Change:
    middle = _mean if old.judge is bootstrap else lambda values: median(values.values())
    shared = old.values.keys() & new.values.keys()
    if old.judge is bootstrap and shared:  # another set of languages is another figure
        old, new = (Figure(**{**vars(f), "values": {k: f.values[k] for k in sorted(shared)}}) for f in (old, new))
    a, b = middle(old.values), middle(new.values)
    ratio = b / a if a else float(b == a) or float("inf")
    worse_by = 1 - ratio if old.higher_is_better else ratio - 1
    p = old.judge(old.values, new.values)
    verdict = "worse" if worse_by > 0 else "better"
    if abs(worse_by) <= threshold:
        verdict = "same"
    elif p is None:
        verdict = "unjudged"
    elif p > ALPHA:
        verdict = "noise"
    return Change(label=key[0], figure=key[1], old=a, new=b, ratio=ratio, worse_by=worse_by, p=p, verdict=verdict)


def mann_whitney(old: dict[Any, float], new: dict[Any, float]) -> float | None:
    """Two-sided exact probability of ranks at least as uneven as these; None if no outcome could reach 5 %."""
    x, y = list(old.values()), list(new.values())
    wins = sum((a < b) + (a == b) / 2 for a in x for b in y)
    low = min(wins, len(x) * len(y) - wins)
    counts = [_arrangements(len(x), len(y), u) for u in range(len(x) * len(y) + 1)]
    if 2 / sum(counts) > ALPHA:
        return None
    return min(1.0, 2 * sum(counts[: int(low) + 1]) / sum(counts))


@cache
def _arrangements(m: int, n: int, u: int) -> int:
    """How many orders of m and n values have the statistic u (Mann and Whitney 1947, their recurrence)."""
    if u < 0:
        return 0
    if m == 0 or n == 0:
        return int(u == 0)
    return _arrangements(m - 1, n, u - n) + _arrangements(m, n - 1, u)


def bootstrap(old: dict[Any, float], new: dict[Any, float]) -> float | None:
    """Two-sided probability, over drawn sets of languages, that the mean difference has the other sign."""
    if len(old) < 3:
        return None
    difference = np.array([new[code] - old[code] for code in sorted(old)])
    drawn = np.random.default_rng(SEED).integers(0, len(difference), (DRAWS, len(difference)))
    means = difference[drawn].mean(1)
    return float(min(1.0, 2 * min((means <= 0).mean(), (means >= 0).mean())))


def _certain(old: dict[Any, float], new: dict[Any, float]) -> float:
    return 0.0


def _mean(values: dict[Any, float]) -> float:
    return float(np.mean(list(values.values())))


def as_table(changes: Sequence[Change]) -> Table:
    """The changes as a table, the worst first; bytes in MB, and no p where there is no doubt to judge."""
    header = ["model", "figure", "old", "new", "worse by", "p", "verdict"]
    return Table(title="Old and new", header=header, rows=[_cells(change) for change in changes])


def _cells(change: Change) -> list[Entry]:
    unit, size = (" MB", 1e6) if change.figure.endswith(" bytes") else ("", 1.0)
    name = change.figure.removesuffix(" bytes") + unit
    return [
        Entry(change.label, change.label),
        Entry(name, change.figure),
        number(change.old / size, 3),
        number(change.new / size, 3),
        Entry(f"{100 * change.worse_by:+.1f} %", change.worse_by),
        number(None if change.figure == FILE else change.p, 3),
        Entry(change.verdict, change.verdict),
    ]
