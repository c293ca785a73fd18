"""Interleaved rounds of speed measurements, each in a fresh process; what the results have is not measured again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compact_labse.measure.artifact import Artifact
from compact_labse.measure.pages.summary import cell_name
from compact_labse.measure.results import Record, Results, record
from compact_labse.measure.runs import record_failure
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.processes import CellFailed, run_cell, schedule, texts_file
from compact_labse.progress import track

Pair = tuple[Artifact, Cell]


def record_speeds(results: Results, pairs: Sequence[Pair], rounds: int, texts: Sequence[str]) -> None:
    """Measure every artifact in its cells, round by round, in the order given: neighbours in time are compared.

    A cell that failed once is not tried again in this run. Ctrl-C keeps every record that was made.
    """
    source = digest_texts(texts)
    failed: set[tuple[str, str]] = set()
    with texts_file(texts) as path:
        for number, artifact, cell in track(list(schedule(pairs, rounds)), "measuring speed"):
            config = {**cell.config(), "texts": source, "round": number}
            known = results.find("speed", artifact.record(), config) is not None
            if (
                not known
                and (artifact.label, cell.name) not in failed
                and not _speed(results, artifact, cell, config, path)
            ):
                failed.add((artifact.label, cell.name))


def _speed(results: Results, artifact: Artifact, cell: Cell, config: dict[str, Any], texts: Path) -> bool:
    model = artifact.record()
    try:
        values = run_cell(artifact.spec, cell, texts)
    except CellFailed as error:
        record_failure(results, artifact, "speed", config, f"speed {cell.name}", str(error))
        return False
    results.add(record("speed", model, config, values))
    return True


def rates(records: Sequence[Record], field: str = "label") -> dict[str, dict[str, dict[int, float]]]:
    """Sentences or batches per second of speed records: by cell, by a field of the model, by round. No long runs."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for each in records:
        if each["kind"] == "speed" and each["config"]["mode"] != "long":
            values = each["values"]
            rate = values["sentences_per_s"] if each["config"]["mode"] == "text" else 1000 / values["model_ms"]["p50"]
            rounds = found.setdefault(cell_name(each), {}).setdefault(each["model"][field], {})
            rounds[each["config"]["round"]] = rate
    return found


def digest_texts(texts: Sequence[str]) -> str:
    """16 hex digits over the texts that speed was measured on."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
