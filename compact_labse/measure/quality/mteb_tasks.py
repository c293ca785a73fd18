"""Tasks of the `mteb` library by name, run by that library itself, so that the figures are those of its leaderboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compact_labse.encoder import Encoder
from compact_labse.errors import UserError, require
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.quality.evaluate import Encodes, Remembering, Values, described
from compact_labse.measure.results import Record, Results, record
from compact_labse.measure.runs import record_failure
from compact_labse.progress import say

KIND = "mteb"


class Adapter:
    """One of our encoders behind the interface that mteb asks for."""

    mteb_model_meta: Any = None

    def __init__(self, encoder: Encodes, meta: Any) -> None:
        self._encoder, self.mteb_model_meta = encoder, meta

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        """Vectors of mteb's batches, dictionaries whose `text` is a list."""
        return self._encoder.encode([text for batch in inputs for text in batch["text"]])

    def similarity(self, a_ND: Any, b_MD: Any) -> Any:
        """Cosines of all pairs `[N, M]`, as a torch tensor."""
        torch = require("torch", "train")
        return torch.as_tensor(np.asarray(a_ND)) @ torch.as_tensor(np.asarray(b_MD)).T

    def similarity_pairwise(self, a_ND: Any, b_ND: Any) -> Any:
        """Cosines of rows `[N]`, as a torch tensor."""
        torch = require("torch", "train")
        return (torch.as_tensor(np.asarray(a_ND)) * torch.as_tensor(np.asarray(b_ND))).sum(-1)


def find_tasks(names: Sequence[str]) -> list[Any]:
    """The tasks of these names. UserError if mteb is not installed or does not know one."""
    found = []
    for name in names:
        mteb = require("mteb", "mteb")
        try:
            found.append(mteb.get_task(name))
        except KeyError as error:
            raise UserError(f"mteb has no task {name!r}: {' '.join(str(error).split())[:300]}") from error
    return found


def record_mteb(results: Results, opened: Sequence[tuple[Artifact, Encoder]], tasks: Sequence[Any]) -> list[Record]:
    """Run every task on every encoder, unless the results have it; data out of reach makes a failure row."""
    found = []
    for artifact, encoder in opened:
        for task in tasks:
            name, model = task.metadata.name, artifact.record()
            # The library's version is part of what must be equal for a figure to be the same.
            config = {"dataset": f"mteb {name}", "revision": task.metadata.dataset["revision"]}
            config["mteb"] = require("mteb", "mteb").__version__
            known = results.find(KIND, model, config)
            if known is None:
                say(f"mteb: {artifact.label} on {name}")
                try:
                    known = results.add(record(KIND, model, config, _run(artifact, encoder, task)))
                except Exception as error:  # whatever mteb or a foreign model raises, the others are still to be run
                    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
                    known = record_failure(results, artifact, KIND, config, f"mteb {name}", reason)
            found.append(known)
    return found


def _run(artifact: Artifact, encoder: Encoder, task: Any) -> Values:
    mteb = require("mteb", "mteb")
    meta_type = require("mteb.models.model_meta", "mteb").ModelMeta
    meta = meta_type.create_empty({"name": f"compact-labse/{artifact.label}", "revision": artifact.hash[:16]})
    done = mteb.evaluate(
        Adapter(Remembering(encoder), meta), task, cache=None, show_progress_bar=False, co2_tracker=False
    )
    scores = done.task_results[0].scores
    split = task.metadata.eval_splits[0] if task.metadata.eval_splits[0] in scores else next(iter(scores))
    measure = str(task.metadata.main_score)
    subsets = {row["hf_subset"]: {measure: 100 * float(row["main_score"])} for row in scores[split]}
    return described(task.metadata.name, subsets, (measure,), None) | {"split": split}
