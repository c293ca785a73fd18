"""From records to what a report shows: one row per artifact, medians over rounds, ratios to the reference.

Everything is computed from the records alone, so a committed JSONL file is enough to make its report again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from compact_labse.measure import environment
from compact_labse.measure.noise import Comparison, compare, spread
from compact_labse.measure.results import Record
from compact_labse.measure.speed.latency import Cell

Values = dict[str, Any]
# The costly kinds of quality; named here, because a report needs no numpy to show what `measures.py` found.
MORE = ("mining", "search", "quantized", "truncated", "batches", "space", "mteb")


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One artifact in one cell over several rounds. `main` is what is compared: ms (lower is better) or sentences/s.

    `versus` is the ratio to the reference, above 1 being faster; None for the reference itself or without shared
    rounds. `interleaved` is False if the two were not measured in the same run.
    """

    cell: str
    main: float
    spread: float
    rounds: int
    p95: float | None
    tokenize: float
    versus: Comparison | None
    interleaved: bool

    @property
    def rounds_text(self) -> str:
        """`±3.1 % over 5 rounds`; a single round has no spread, which is not a spread of zero."""
        return "one round" if self.rounds == 1 else f"±{self.spread:.1f} % over {self.rounds} rounds"


@dataclass(kw_only=True)
class Row:
    """All that is known of one artifact; what was not measured is absent."""

    model: Values
    speeds: dict[str, Speed] = field(default_factory=dict)
    cold_start_ms: float | None = None
    peak_bytes: int | None = None
    baseline_bytes: int | None = None
    quality: dict[str, Values] = field(default_factory=dict)
    agreement: dict[str, Values] = field(default_factory=dict)
    more: dict[str, dict[str, Values]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The name in tables."""
        return str(self.model["label"])


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a report shows, the reference first."""

    rows: list[Row]
    cells: list[str]
    datasets: list[str]
    machine: Values
    versions: Values
    commands: list[str]
    dates: tuple[str, str]
    older: int

    @property
    def reference(self) -> Row:
        """The artifact that the others are compared with."""
        return self.rows[0]


def summarise(records: Sequence[Record], models: Sequence[Values] | None = None) -> Summary:
    """Summarise all artifacts of the records, or those of `models` (as recorded) in that order.

    Speeds from another machine or other versions than the newest, and qualities on other text, are left out and counted
    in `older`, because nothing may be compared across them.
    """
    if models is None:
        models = list({identity(found["model"]): found["model"] for found in records}.values())
    wanted = [identity(model) for model in models]
    chosen = sorted((r for r in records if identity(r["model"]) in wanted), key=lambda found: found["date"])
    same = _comparable(chosen)
    by_model = {key: [found for found in same if identity(found["model"]) == key] for key in wanted}
    newest = max(chosen, key=lambda found: (found["kind"] == "speed", found["date"]), default={})
    reference = _latest_speeds(by_model[wanted[0]])
    rows = [_row(model, by_model[identity(model)], reference) for model in models]
    dates = [found["date"] for found in chosen] or [""]
    return Summary(
        rows=rows,
        cells=list(dict.fromkeys(cell for row in rows for cell in row.speeds)),
        datasets=list(dict.fromkeys(name for row in rows for name in row.quality)),
        machine=newest.get("machine") or environment.machine(),
        versions=newest.get("versions") or environment.versions(),
        commands=list(dict.fromkeys(found["command"] for found in chosen)),
        dates=(dates[0], dates[-1]),
        older=len(chosen) - len(same),
    )


def source_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """The row that a row was made from: the last that its lineage names, else the first larger one of the same origin.

    Exports of a folder that is not itself a row have only that origin in common.
    """
    origins = set(row.model.get("made_from") or ())
    named = [other for other in rows if other is not row and other.model["hash"] in origins]
    size = row.model["artifact_bytes"]
    kin = [other for other in rows[: rows.index(row)] if origins & set(other.model.get("made_from") or ())]
    larger = [other for other in kin if other.model["artifact_bytes"] > size]
    return named[-1] if named else larger[0] if larger else None


def identity(model: Values) -> tuple[str, ...]:
    """What makes two records speak of the same artifact, whatever it was called."""
    return model["hash"], model.get("tokenizer_hash", ""), model["runtime"]


def _comparable(records: Sequence[Record]) -> list[Record]:
    """Of records by date, those under the newest conditions of their kind: machine and versions, evaluation text."""
    newest: dict[tuple[str, ...], Record] = {}
    for found in records:
        newest[_subject(found)] = found
    return [found for found in records if _conditions(found) == _conditions(newest[_subject(found)])]


def _subject(found: Record) -> tuple[str, ...]:
    return found["kind"], found["config"].get("dataset", "")


def _conditions(found: Record) -> list[Any]:
    if found["kind"] == "speed":
        return [found["machine"], found["versions"]]
    return [found["config"].get("digest"), found["config"].get("teacher")]


def _latest_speeds(records: Sequence[Record]) -> dict[str, dict[int, Record]]:
    """Rounds per cell. Of cells with the same name but other settings (a quick and a full run) the newest counts."""
    settings: dict[str, tuple[str, Values]] = {}
    for found in records:
        if found["kind"] == "speed":
            setting = {key: value for key, value in found["config"].items() if key != "round"}
            name = cell_name(found)
            settings[name] = max(settings.get(name, ("", {})), (found["date"], setting), key=lambda pair: pair[0])
    rounds: dict[str, dict[int, Record]] = {name: {} for name in settings}
    for found in records:
        if found["kind"] == "speed":
            number = found["config"]["round"]
            if found["config"] == settings[cell_name(found)][1] | {"round": number}:
                rounds[cell_name(found)][number] = found
    return rounds


def cell_name(found: Record) -> str:
    """The cell's short name, from a speed record."""
    config = {key: value for key, value in found["config"].items() if key not in ("round", "texts")}
    return Cell(**config).name


def _row(model: Values, records: Sequence[Record], reference: dict[str, dict[int, Record]]) -> Row:
    row = Row(model=model)
    speeds = _latest_speeds(records)
    row.speeds = {name: _speed(name, rounds, reference.get(name, {})) for name, rounds in speeds.items()}
    measured = [found["values"] for rounds in speeds.values() for found in rounds.values()]
    if measured:
        row.cold_start_ms = median(values["cold_start_ms"] for values in measured)
        row.peak_bytes = int(max(values["memory"]["peak"] for values in measured))
        row.baseline_bytes = int(median(values["memory"]["baseline"] for values in measured))
    for found in records:
        if found["kind"] in ("quality", "agreement"):
            getattr(row, found["kind"])[found["config"]["dataset"]] = found["values"]
        elif found["kind"] in MORE:
            row.more.setdefault(found["kind"], {})[found["config"]["dataset"]] = found["values"]
        elif found["kind"] in ("roofline", "edge"):
            row.more.setdefault(found["kind"], {})[found["config"].get("check", "")] = found["values"]
    row.more |= (
        {"long": long} if (long := {name: v[0]["values"] for name, v in speeds.items() if "long" in name}) else {}
    )
    row.more |= {"energy": {"": measured[-1]["energy"]}} if measured and "energy" in measured[-1] else {}
    metered = {name: found for name, rounds in speeds.items() if (found := _meters([*rounds.values()]))}
    row.more |= {"meters": metered} if metered else {}
    keys = {found["key"] for found in records if found["kind"] != "failure"}
    failed = [found for found in records if found["kind"] == "failure" and found["values"]["of"] not in keys]
    row.failures = list(dict.fromkeys(f"{found['config']['what']}: {found['values']['error']}" for found in failed))
    return row


def _speed(name: str, rounds: dict[int, Record], reference: dict[int, Record]) -> Speed:
    mains = [_main(found) for found in rounds.values()]
    shared = sorted(rounds.keys() & reference.keys())
    versus = None
    if shared and identity(rounds[shared[0]]["model"]) != identity(reference[shared[0]]["model"]):
        mine, theirs = [_main(rounds[n]) for n in shared], [_main(reference[n]) for n in shared]
        higher_is_better = "sentences_per_s" in rounds[shared[0]]["values"]
        versus = compare(mine, theirs) if higher_is_better else compare(theirs, mine)
    values = [found["values"] for found in rounds.values()]
    fixed = "model_ms" in values[0]
    return Speed(
        cell=name,
        main=median(mains),
        spread=spread(mains),
        rounds=len(mains),
        p95=median(found["model_ms"]["p95"] for found in values) if fixed else None,
        tokenize=median(found["tokenize_ms"]["p50"] if fixed else found["tokenize_share"] for found in values),
        versus=versus,
        interleaved=all(rounds[n]["session"] == reference[n]["session"] for n in shared),
    )


def _meters(rounds: Sequence[Record]) -> Values:
    """What counters of energy and the graphics card said in one cell: medians over rounds, {} where there are none."""
    values = [found["values"] for found in rounds]
    spent = [each["energy"] for each in values if "watts" in each.get("energy", {})]
    cards = [each["gpu"] for each in values if "peak_bytes" in each.get("gpu", {})]
    found: Values = {}
    if spent:
        watts = median(each["watts"] for each in spent)
        main = median(map(_main, rounds))
        batch = rounds[0]["config"].get("batch")
        joules = watts / main if batch is None else watts * main / 1000 / batch
        found |= {"watts": watts, "joules_per_1000": 1000 * joules, "source": spent[0]["source"]}
    if cards:
        found |= {"card_bytes": max(each["peak_bytes"] for each in cards)}
        found |= {"card_use": median(each["use_percent"] for each in cards)}
    return found


def _main(found: Record) -> float:
    values = found["values"]
    return float(values["model_ms"]["p50"] if "model_ms" in values else values["sentences_per_s"])
