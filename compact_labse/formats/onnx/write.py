"""One ONNX artifact after the other: make it, hold it to its gates, and say what it is.

The recipe for integer weights is the fastest one that passes the gates on calibration text with room to spare; the
gates that decide look at other text.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import onnx

from compact_labse.errors import GateError, Unsuitable
from compact_labse.folder import model_hash
from compact_labse.formats.contract import FILES, INPUTS, Facts
from compact_labse.formats.export_folder import remove
from compact_labse.formats.gates.agreement import Reference
from compact_labse.formats.gates.parity import Limits, Parity, judge
from compact_labse.formats.onnx import graph as onnx_graph
from compact_labse.formats.onnx import quantize as onnx_quantize
from compact_labse.formats.onnx.half import halve
from compact_labse.formats.onnx.learned_ranges import learned_plans
from compact_labse.formats.onnx.quantize import INVARIANT, PLANNERS, Calibration, Feed
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.progress import say
from compact_labse.tokens import pad
from compact_labse.torch_encoder import TorchEncoder

TABLE_BITS = {"int8": 8, "int8-static": 8, "int8-dynamic": 8, "int4": 4, "int3": 3, "int2": 2}
ONLY_RECIPE = {"int8-static": "static", "int8-dynamic": "dynamic"}
MARGIN = 0.25  # of the way from a limit to 1: what calibration text must reach beyond it
CALIBRATION_BATCH = 16
CALIBRATION_TEXTS = 12  # of each language to choose scales with, and as many to choose a recipe with
Sentences = Mapping[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all artifacts of one export share: the source, its float32 graph, and the texts by language."""

    source: TorchEncoder
    graph: onnx.ModelProto
    calibration: Sentences
    test: Sentences
    external: bool = False

    @cached_property
    def calibrated(self) -> Reference:
        some = slice(CALIBRATION_TEXTS, 2 * CALIBRATION_TEXTS)
        later = {language: group[some] for language, group in self.calibration.items()}
        return Reference.of(self.source, later)

    @cached_property
    def activations(self) -> Calibration:
        return Calibration(self.graph, _feeds(self))

    @cached_property
    def tested(self) -> Reference:
        return Reference.of(self.source, self.test)


def write(job: Job, folder: Path, kind: str, limits: Limits, recipe: str | None) -> tuple[dict[str, Any], Parity]:
    """Write one artifact into `folder` and measure it; gives its entry for `parity.json` and what the gates found.

    `kind` is a key of `FILES`; `recipe` skips the search for one. The caller decides what a failed gate means.
    """
    path = folder / FILES[kind]
    started = time.monotonic()
    remove(folder, path.name)
    if kind == "fp32":
        recipe, model = "float", job.graph
    elif kind == "fp16":
        recipe, model = "half", halve(job.graph)
    else:
        recipe, model = _quantized(job, path, kind, limits, recipe)
    facts = _facts(job, kind, recipe)
    _save(job, model, facts, path)
    parity = judge(job.tested, OnnxEncoder.open(path), limits)
    made = {name: str(value) for name, value in asdict(facts).items() if name in ("dtype", "recipe", "source")}
    size = sum(file.stat().st_size for file in folder.glob(f"{path.name}*"))
    say(f"{kind}: {size / 1e6:.1f} MB, recipe {recipe}, {time.monotonic() - started:.0f} s: {_summary(parity)}")
    return {"format": kind, **made, "batch_invariant": facts.batch_invariant, **parity.report()}, parity


def _quantized(job: Job, path: Path, kind: str, limits: Limits, recipe: str | None) -> tuple[str, onnx.ModelProto]:
    """The model with integer weights: by the recipe, or by the fastest one that the calibration text allows."""
    bits = TABLE_BITS[kind]
    if not onnx_quantize.has_linears(job.graph):
        if kind in ONLY_RECIPE:
            raise Unsuitable(f"{job.source.name} is a table without linear layers: there is nothing for --{kind} to do")
        return "tables", onnx_quantize.quantize(job.graph, recipe="tables", table_bits=bits)
    wanted = (ONLY_RECIPE[kind],) if kind in ONLY_RECIPE else (recipe,) if recipe else INVARIANT
    room = {name: value + MARGIN * (1 - value) for name, value in limits.gates().items()}
    strict = replace(limits, **{**room, "invariance": limits.invariance})
    for name in wanted:
        plans = job.activations.plans(name) if name in PLANNERS else {}
        plans = plans | learned_plans(job.graph, job.source) if name == "static" else plans
        model = onnx_quantize.quantize(job.graph, recipe=name, table_bits=bits, plans=plans)
        if len(wanted) == 1:
            return name, model
        _save(job, model, _facts(job, kind, name), path)
        tried = judge(job.calibrated, OnnxEncoder.open(path), strict)
        if tried.passed:
            return name, model
        say(f"{kind}: recipe {name} is not enough on calibration text: {tried.failures[0]}")
    return name, model


def _feeds(job: Job) -> Iterator[Feed]:
    """Calibration batches in which languages take turns, padding as it comes."""
    few = [group[:CALIBRATION_TEXTS] for group in job.calibration.values()]
    texts = [text for group in zip(*few, strict=False) for text in group]
    ids = job.source.tokenize(texts)
    for start in range(0, len(ids), CALIBRATION_BATCH):
        ids_BT, mask_BT = pad(ids[start : start + CALIBRATION_BATCH], job.source.tokens.pad_id)
        yield dict(zip(INPUTS, (ids_BT, mask_BT, 0 * ids_BT), strict=True))


def _facts(job: Job, kind: str, recipe: str) -> Facts:
    source = job.source
    assert source.source is not None
    return Facts(
        dim=source.dim,
        pooling="+".join(source.module.modes),
        dtype=kind,
        recipe=recipe,
        max_tokens=source.max_tokens or 0,
        pad_id=source.tokens.pad_id,
        special_tokens=source.tokens.special,
        prompt=source.tokens.prefix,
        batch_invariant=recipe != "dynamic",
        languages=",".join(job.test),
        source=model_hash(source.source),
    )


def _save(job: Job, model: onnx.ModelProto, facts: Facts, path: Path) -> None:
    remove(path.parent, path.name)  # a recipe that was tried before, with its external data
    onnx_graph.stamp(model, facts)
    onnx_graph.save(model, path, external=job.external)


def _summary(parity: Parity) -> str:
    worst = parity.measured.worst()
    named = ("worst_cosine", "language_cosine", "neighbours", "invariance")
    return ", ".join(f"{name.replace('_', ' ')} {worst[name].value:.5f}" for name in named if name in worst)


def refuse_variant(kind: str, parity: Parity) -> None:
    """The GateError for dynamic quantization, which says how to get the artifact all the same."""
    if kind == "int8-dynamic" and any(failure.gate == "invariance" for failure in parity.failures):
        raise GateError(
            f"{FILES[kind]} was not written, it is not batch-invariant: {parity.failures[0]}; --int8 is, and as fast; "
            f"--allow-batch-variant writes this one all the same, marked as such"
        )
