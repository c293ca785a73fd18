"""The folder that a search ends with: the artifact, its weights, and the evidence."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compact_labse.compress import evidence
from compact_labse.compress.evidence import Row
from compact_labse.compress.workbench import Workbench
from compact_labse.folder import model_hash, write_lineage, writing_folder
from compact_labse.measure.pages.report import write_report
from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.results import command_line

WEIGHTS, EVIDENCE = "weights", "evidence"


def write_result(
    bench: Workbench,
    rows: Sequence[Row],
    steps: Sequence[Mapping[str, Any]],
    out: Path,
    config: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write `out`: the chosen artifact, which `load` opens; `weights/`, its float32 model; `evidence/`.

    `steps` are those of `attribution`; with the figures in `results.jsonl` they make the report's waterfall.
    """
    chosen = next(row for row in rows if row.chosen)
    artifact = bench.judge.original[0]
    plain = [{name: value for name, value in one.items() if name != "model"} for one in steps]
    with writing_folder(out, overwrite=overwrite) as folder:
        shutil.copytree(bench.artifact(chosen), folder, dirs_exist_ok=True)
        shutil.copytree(bench.floats(chosen)[-1], folder / WEIGHTS, ignore=shutil.ignore_patterns("onnx"))
        page = evidence.page(f"{artifact.spec} compressed", bench.budget, rows, plain, command_line())
        evidence.write(folder / EVIDENCE, rows, page)
        write_report(summarise(bench.judge.results.records, [one["model"] for one in steps]), folder / EVIDENCE)
        assert bench.judge.results.path is not None
        shutil.copyfile(bench.judge.results.path, folder / EVIDENCE / "results.jsonl")
        inputs = {artifact.spec: artifact.hash, WEIGHTS: model_hash(folder / WEIGHTS)}
        result = {"met": chosen.meets(bench.budget), "chosen": chosen.record(), "steps": plain}
        write_lineage(folder, command="compress", config={**config, "result": result}, inputs=inputs)
