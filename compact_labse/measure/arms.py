"""Arms of an experiment, each run with several seeds: means, spreads, and differences between runs of the same seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from compact_labse.measure.results import Record

COLUMNS = (("tatoeba", "29"), ("tatoeba", "36"), ("pud", "17"))  # data sets and language sets
DIRECTIONS = {"xx_en": "xx→en", "en_xx": "en→xx"}
TITLES = {"tatoeba": "Tatoeba", "pud": "PUD"}

Column = tuple[str, str, str]
Scores = dict[str, dict[Column, float]]


def table(records: Sequence[Record], arms: Mapping[str, str], seeds: Sequence[int], *, base: str) -> str:
    """Markdown: retrieval accuracy in percent, the mean over the seeds of each arm (`{name: what it is}`).

    The run of an arm and a seed is labelled `<arm>-<seed>`. Behind a mean stands, in brackets, the mean difference to
    the base's run of the same seed; behind ± the standard deviation over seeds.
    """
    found = scores(records)
    columns = [(name, key, way) for name, key in COLUMNS for way in DIRECTIONS]
    heads = [f"{TITLES[name]}-{key} {DIRECTIONS[way]}" for name, key, way in columns]
    lines = [f"| arm | seeds | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for arm, what in arms.items():
        run = [seed for seed in seeds if f"{arm}-{seed}" in found]
        if run:
            cells = [_cell(found, arm, base, run, column) for column in columns]
            lines.append(f"| {arm}: {what} | {len(run)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def scores(records: Sequence[Record]) -> Scores:
    """The accuracy of each run's label by data set, language set and direction."""
    found: Scores = {}
    for record in (record for record in records if record["kind"] == "quality"):
        row = found.setdefault(record["model"]["label"], {})
        for name, key in COLUMNS:
            if record["config"]["dataset"] == name and key in record["values"]["means"]:
                row |= {(name, key, way): record["values"]["means"][key][way] for way in DIRECTIONS}
    return found


def _cell(found: Scores, arm: str, base: str, seeds: Sequence[int], column: Column) -> str:
    value = {seed: row[column] for seed in seeds if column in (row := found[f"{arm}-{seed}"])}
    if not value:
        return "-"
    other = {seed: row[column] for seed in value if column in (row := found.get(f"{base}-{seed}", {}))}
    gains = [value[seed] - other[seed] for seed in other]
    return _spread([*value.values()]) + (f" ({_spread(gains, '+')})" if gains and arm != base else "")


def _spread(values: Sequence[float], sign: str = "") -> str:
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{sign}z.1f}{deviation}"
