"""Measure what is not yet in the results, one record per measurement; a failure becomes a record too."""

from __future__ import annotations

from typing import Any

from compact_labse.measure.artifact import Artifact
from compact_labse.measure.quality.datasets import Dataset, digest
from compact_labse.measure.quality.evaluate import Encodes, Values, agreement_texts, compare_encoders, evaluate
from compact_labse.measure.results import Record, Results, record, result_key

AGREEMENT_TEXTS = 200
_NO_MEMORY = ("memoryerror", "bad_alloc", "allocate memory", "out of memory", "outofmemory")
QUALITY_REVISION = 2  # 2: F1 beside accuracy, Pearson beside Spearman; older records stay valid and are measured again


def record_quality(results: Results, artifact: Artifact, encoder: Encodes, dataset: Dataset) -> Record:
    """Retrieval or STS of one encoder on one data set, unless the results have it."""
    config = {"dataset": dataset.name, "digest": digest(dataset), "revision": QUALITY_REVISION}
    model = artifact.record()
    found = results.find("quality", model, config)
    if found is None:
        found = results.add(record("quality", model, config, evaluate(encoder, dataset, trained=artifact.trained)))
    return found


def record_agreement(
    results: Results, student: tuple[Artifact, Encodes], teacher: tuple[Artifact, Encodes], dataset: Dataset
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


def _agreement(student: Encodes, teacher: Encodes, dataset: Dataset) -> Values:
    texts = agreement_texts(dataset, AGREEMENT_TEXTS)
    return compare_encoders(texts, student, {code: teacher.encode(sentences) for code, sentences in texts.items()})


def record_failure(
    results: Results, artifact: Artifact, kind: str, config: dict[str, Any], what: str, error: str
) -> Record:
    """Keep a failure as a row with its error; it names the measurement, so that a later success replaces it.

    Every library has words of its own for a want of memory; the row says it in the same.
    """
    model = artifact.record()
    if any(mark in error.lower() for mark in _NO_MEMORY) and not error.startswith("out of memory"):
        error = f"out of memory: {error}"
    values = {"error": error, "of": result_key(kind, model, config)}
    return results.add(record("failure", model, {"what": what}, values))
