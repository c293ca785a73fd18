"""What of the original's quality a candidate keeps: the worst ratio over the data sets, in records of `measure`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder
from compact_labse.measure.artifact import Artifact, describe
from compact_labse.measure.quality.datasets import Dataset, Parallel, digest
from compact_labse.measure.quality.evaluate import Remembering
from compact_labse.measure.results import Record, Results
from compact_labse.measure.runs import record_agreement, record_quality
from compact_labse.progress import say

MEASURES = (("xx_en", "en_xx"), ("spearman",))  # of retrieval and of similarity; those that there are decide


class Judge:
    """The original and the data sets that candidates are compared with it on; every figure is a record in a file."""

    def __init__(self, results: Results, original: Encoder, name: str, datasets: Sequence[Dataset]) -> None:
        self.results, self.datasets = results, list(datasets)
        self.original = (describe(original, spec=name, label="original"), Remembering(original))

    @cached_property
    def figures(self) -> dict[str, float]:
        """The original's own, measured when the first candidate is: a budget that nothing meets is refused before."""
        return self._figures(*self.original)

    @property
    def key(self) -> list[str]:
        """What figures depend on beside the model: the data sets and the original."""
        return [*(digest(dataset) for dataset in self.datasets), self.original[0].hash]

    def judge(self, encoder: Encoder, spec: Path, label: str) -> dict[str, Any]:
        """`quality`, the worst ratio of a candidate's figures to the original's, and all `ratios` by data set."""
        artifact, remembering = describe(encoder, spec=str(spec), label=label), Remembering(encoder)
        figures = self._figures(artifact, remembering)
        for dataset in self.datasets:
            if isinstance(dataset, Parallel):
                record_agreement(self.results, (artifact, remembering), self.original, dataset)
        ratios = {name: round(value / max(self.figures[name], 1e-9), 5) for name, value in figures.items()}
        say(f"{label}: keeps {min(ratios.values()):.4f} ({', '.join(f'{k} {v:.4f}' for k, v in ratios.items())})")
        return {"quality": min(ratios.values()), "ratios": ratios, "model": artifact.record()}

    def _figures(self, artifact: Artifact, encoder: Remembering) -> dict[str, float]:
        return {
            dataset.name: headline(record_quality(self.results, artifact, encoder, dataset))
            for dataset in self.datasets
        }


def headline(record: Record) -> float:
    """The figure of a record of quality: accuracy in both directions, or rank correlation, over all its languages."""
    values = record["values"]
    means = values["means"][values["headline"]]
    names = next(names for names in MEASURES if all(name in means for name in names))
    return float(sum(means[name] for name in names) / len(names))
