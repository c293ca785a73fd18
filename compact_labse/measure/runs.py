"""Measure what is not yet in the results, one record per measurement; a failure becomes a record too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.datasets import Dataset, digest
from compact_labse.measure.evaluate import Values, agreement_texts, compare_encoders, evaluate
from compact_labse.measure.latency import Cell
from compact_labse.measure.processes import CellFailed, run_cell, schedule, texts_file
from compact_labse.measure.results import Record, Results, record, result_key
from compact_labse.progress import track

AGREEMENT_TEXTS = 200


def record_quality(results: Results, artifact: Artifact, encoder: Encoder, dataset: Dataset) -> Record:
    """Retrieval or STS of one encoder on one data set, unless the results have it."""
    config = {"dataset": dataset.name, "digest": digest(dataset)}
    model = artifact.record()
    found = results.find("quality", model, config)
    if found is None:
        found = results.add(record("quality", model, config, evaluate(encoder, dataset, trained=artifact.trained)))
    return found


def record_agreement(
    results: Results, student: tuple[Artifact, Encoder], teacher: tuple[Artifact, Encoder], dataset: Dataset
) -> Record:
    """Agreement of a student with its teacher on one data set, unless the results have it."""
    config = {
        "dataset": dataset.name,
        "digest": digest(dataset),
        "teacher": teacher[0].hash,
        "texts_per_language": AGREEMENT_TEXTS,
    }
    model = student[0].record()
    found = results.find("agreement", model, config)
    if found is None:
        values = _agreement(student[1], teacher[1], dataset) | {"with": teacher[0].label}
        found = results.add(record("agreement", model, config, values))
    return found


def _agreement(student: Encoder, teacher: Encoder, dataset: Dataset) -> Values:
    texts = agreement_texts(dataset, AGREEMENT_TEXTS)
    return compare_encoders(texts, student, {code: teacher.encode(sentences) for code, sentences in texts.items()})


def record_speeds(
    results: Results, artifacts: Sequence[Artifact], cells: Sequence[Cell], rounds: int, texts: Sequence[str]
) -> None:
    """Interleaved rounds over all artifacts and cells, each in a fresh process.

    What the results have is skipped; a cell that failed once is not tried again in this run.
    """
    source = digest_texts(texts)
    failed: set[tuple[str, str]] = set()
    with texts_file(texts) as path:
        steps = list(schedule(artifacts, cells, rounds))
        for number, artifact, cell in track(steps, "measuring speed"):
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


def record_failure(
    results: Results, artifact: Artifact, kind: str, config: dict[str, Any], what: str, error: str
) -> Record:
    """Keep a failure as a row with its error; it names the measurement, so that a later success replaces it."""
    model = artifact.record()
    values = {"error": error, "of": result_key(kind, model, config)}
    return results.add(record("failure", model, {"what": what}, values))


def digest_texts(texts: Sequence[str]) -> str:
    """16 hex digits over the texts that speed was measured on."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
