"""How near to the machine's limits a model runs: measured peaks, counted work, and the share of the limit reached.

The limit of a shape is the lower of two: the fastest matrix product of that number format, and the memory bandwidth
times the operations per byte that must be read (Williams et al., 2009, "Roofline"). One thread.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.locate import locate
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.results import Record, Results, record
from compact_labse.measure.runs import record_failure
from compact_labse.measure.speed.processes import CellFailed, answer
from compact_labse.measure.speed.runners import split_runner
from compact_labse.progress import say
from compact_labse.settings import read_json

_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "int4": 1 / 2, "int3": 3 / 8, "int2": 1 / 4}


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a batch costs: operations (a multiplication and an addition are two) and bytes that must be read once."""

    operations: float
    bytes: float

    @property
    def intensity(self) -> float:
        """Operations per byte."""
        return self.operations / self.bytes


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes that decide a transformer's work; no layers: a bag of tokens of width `hidden`."""

    hidden: int
    inner: int = 0
    layers: int = 0
    table: int = 0

    @classmethod
    def of(cls, config: dict[str, Any]) -> Sizes | None:
        """From a `config.json` of BERT's family or DistilBERT's; None if it is of neither kind."""
        hidden = config.get("hidden_size") or config.get("dim")
        if not isinstance(hidden, int):
            return None
        layers = config.get("num_hidden_layers") or config.get("n_layers") or 0
        inner = config.get("intermediate_size") or config.get("hidden_dim") or 0
        return cls(hidden=hidden, inner=inner, layers=layers, table=config.get("embedding_size") or hidden)

    def work(self, batch: int, tokens: int, dtype: str) -> Work:
        """Four h x h products and two h x f per token and layer, attention's two t x h, the projection of the table.

        Weights are read once per batch and table rows once per token, in the format's bytes (below eight bits only the
        table is coarser); attention's products stay in float32 in all our formats, but are a few percent of the
        operations at these lengths.
        """
        rows, h, f = batch * tokens, self.hidden, self.inner
        if not self.layers:
            return Work(operations=rows * h, bytes=rows * h * _BYTES[dtype])
        weights = self.layers * (4 * h * h + 2 * h * f) + (self.table * h if self.table != h else 0)
        attention = self.layers * 2 * 2 * tokens * h
        read = _BYTES[products_in(dtype)] * weights + _BYTES[dtype] * rows * self.table + 4 * batch * h
        return Work(operations=rows * (2 * weights + attention), bytes=read)


def products_in(dtype: str) -> str:
    """The format in which a model of some number type multiplies matrices: "fp32", "bf16" or "int8"."""
    return {"fp32": "fp32", "fp16": "fp32", "bf16": "bf16"}.get(dtype, "int8")


def limit(work: Work, peaks: dict[str, Any], dtype: str) -> tuple[float, str]:
    """Operations per second that the machine allows for this work, and what bounds it: "compute" or "memory"."""
    compute = max(each["ops_per_s"] for each in peaks[products_in(dtype)])
    memory = work.intensity * max(each["bytes_per_s"] for each in peaks["bandwidth"])
    return (compute, "compute") if compute <= memory else (memory, "memory")


def shares(speeds: Sequence[Record], sizes: Sizes, peaks: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Per measured shape on one thread: operations/s reached, the limit, and the share of it."""
    rounds: dict[tuple[int, int], list[float]] = {}
    for found in speeds:
        config = found["config"]
        if config["mode"] == "fixed" and config["threads"] == 1:
            rounds.setdefault((config["batch"], config["tokens"]), []).append(found["values"]["model_ms"]["p50"])
    table = {}
    for (batch, tokens), values in rounds.items():
        work = sizes.work(batch, tokens, dtype)
        bound, by = limit(work, peaks, dtype)
        reached = work.operations / (median(values) / 1000)
        table[f"{batch}x{tokens}"] = {
            "gops_per_s": round(reached / 1e9, 2),
            "limit_gops_per_s": round(bound / 1e9, 2),
            "share": round(reached / bound, 4),
            "bound": by,
        }
    return table


def record_roofline(results: Results, artifacts: Sequence[Artifact]) -> None:
    """Note each artifact's share of the machine's limits, whose peaks are measured if any share is missing."""
    peaks: dict[str, Any] = {}
    for artifact in artifacts:
        model, dtype = artifact.record(), artifact.dtype
        mine = [found for found in results.records if found["kind"] == "speed" and found["model"] == model]
        config = {"threads": 1, "measurements": len(mine)}
        if not mine or results.find("roofline", model, config) is not None:
            continue
        sizes = Sizes.of(read_json(_folder(artifact) / "config.json"))
        if sizes is None:
            reason = "not measured: config.json does not say the sizes of the layers"
            record_failure(results, artifact, "roofline", config, "roofline", reason)
            continue
        peaks = peaks or measured_peaks()
        if "error" in peaks:
            record_failure(results, artifact, "roofline", config, "roofline", peaks["error"])
        elif found := shares(mine, sizes, peaks, dtype):
            results.add(record("roofline", model, config, {"peaks": peaks, "cells": found, "dtype": dtype}))


def _folder(artifact: Artifact) -> Path:
    path = locate(split_runner(artifact.spec)[1])
    return path if path.is_dir() else tokenizer_folder(path)


def measured_peaks(timeout_s: float = 300.0) -> dict[str, Any]:
    """What `compact_labse.measure.speed.peaks` prints on one thread of a process of its own; {"error"} if it fails."""
    say("roofline: the machine's peaks")
    try:
        return answer([sys.executable, "-m", "compact_labse.measure.speed.peaks"], threads=1, timeout_s=timeout_s)
    except CellFailed as error:
        return {"error": f"the machine's peaks: {error}"}
