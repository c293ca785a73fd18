"""The quality of encoders on data sets, as records: the quick measures always, the costly ones when asked.

Quick are retrieval or STS and the agreement with a teacher: their cost is that of encoding the text once. The others
(`full`) encode little more, but compare every sentence with all English of a set: on Tatoeba that takes longer than a
fast encoder needs to encode it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from compact_labse.encoder import Encoder
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.quality.datasets import Dataset, Parallel, digest
from compact_labse.measure.quality.evaluate import Remembering
from compact_labse.measure.quality.measures import MEASURES
from compact_labse.measure.results import Record, Results, record
from compact_labse.measure.runs import record_agreement, record_failure, record_quality
from compact_labse.progress import say

Opened = tuple[Artifact, Encoder]
Shared = tuple[Artifact, Remembering]


def record_suite(
    results: Results,
    opened: Sequence[Opened],
    datasets: Sequence[Dataset],
    *,
    teacher: Opened | None = None,
    full: bool = False,
) -> list[Record]:
    """Measure what the results lack, artifact by artifact; returns the records of all, failures included.

    A measure that fails becomes a record with its error and the others go on. Without a teacher there is no agreement.
    """
    found = []
    # The teacher is the slowest: it encodes the text of a data set once for all students, itself included.
    taught = {dataset.name: Remembering(teacher[1]) for dataset in datasets} if teacher is not None else {}
    for artifact, encoder in opened:
        for dataset in datasets:
            say(f"quality: {artifact.label} on {dataset.name}")
            itself = teacher is not None and encoder is teacher[1]
            student = (artifact, taught[dataset.name] if itself else Remembering(encoder))
            other = None if teacher is None or itself else (teacher[0], taught[dataset.name])
            found += _on_dataset(results, student, dataset, other, full)
    return found


def _on_dataset(
    results: Results, student: Shared, dataset: Dataset, teacher: Shared | None, full: bool
) -> list[Record]:
    artifact, remembering = student
    keep = partial(_or_failure, results, artifact, dataset)
    found = [keep("quality", partial(record_quality, results, artifact, remembering, dataset))]
    if not isinstance(dataset, Parallel):
        return found
    if teacher is not None:
        found.append(keep("agreement", partial(record_agreement, results, student, teacher, dataset)))
    names = MEASURES if full else ()
    return found + [
        keep(name, partial(record_measure, results, artifact, remembering, dataset, name)) for name in names
    ]


def record_measure(results: Results, artifact: Artifact, encoder: Remembering, dataset: Parallel, name: str) -> Record:
    """One of `MEASURES` on one data set, unless the results have it."""
    measure, model = MEASURES[name], artifact.record()
    config = {"dataset": dataset.name, "digest": digest(dataset), **measure.settings}
    found = results.find(name, model, config)
    return found or results.add(record(name, model, config, measure.run(encoder, dataset, artifact.trained)))


def _or_failure(
    results: Results, artifact: Artifact, dataset: Dataset, name: str, step: Callable[[], Record]
) -> Record:
    try:
        return step()
    except Exception as error:  # whatever a foreign model raises, the others are still to be measured
        config = {"dataset": dataset.name, "digest": digest(dataset)}
        what = f"{name} on {dataset.name}"
        return record_failure(results, artifact, name, config, what, f"{type(error).__name__}: {error}")
