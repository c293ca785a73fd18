"""Records as a benchmark would write them, without measuring anything."""

from __future__ import annotations

from typing import Any

from compact_labse.measure.latency import Cell
from compact_labse.measure.results import Record, record

SHAPES = (Cell(mode="fixed"), Cell(mode="fixed", batch=32))


def model(label: str, runtime: str = "onnxruntime", size: float = 16e6) -> dict[str, Any]:
    return {
        "label": label,
        "spec": f"models/{label}",
        "hash": f"hash of {label}",
        "tokenizer_hash": "t",
        "runtime": runtime,
        "dim": 256,
        "max_tokens": 128,
        "artifact_bytes": int(size),
        "tokenizer_bytes": 500_000,
        "trained": None,
    }


def speed(of: dict[str, Any], ms: float, number: int, cell: Cell = SHAPES[0], session: str = "s1") -> Record:
    summary = {"p50": ms, "p95": 1.2 * ms, "p99": 1.3 * ms, "calls": 1, "raw": [ms]}
    common = {"cold_start_ms": 300.0, "memory": {"baseline": 30e6, "loaded": 60e6, "end": 80e6, "peak": 90e6}}
    fixed = {"model_ms": summary, "tokenize_ms": {**summary, "p50": 0.1}}
    text = {
        "sentences_per_s": 1000 / ms,
        "pass_ms": summary,
        "tokenize_share": 0.2,
        "model_share": 0.7,
        "sentences": 10,
    }
    values = {**(fixed if cell.mode == "fixed" else text), **common}
    return record("speed", of, {**cell.config(), "texts": "d", "round": number}, values) | {"session": session}


def retrieval(
    of: dict[str, Any], dataset: str, digest: str = "d", untrained: tuple[str, ...] = (), **values: float
) -> Record:
    languages = {code: {"xx_en": value, "en_xx": value - 1, "pairs": 100} for code, value in values.items()}
    mean = sum(values.values()) / len(values)
    described = {
        "measures": ["xx_en", "en_xx"],
        "languages": languages,
        "means": {"all": {"xx_en": mean, "en_xx": mean - 1}},
        "headline": "all",
        "worst": sorted(values, key=lambda code: values[code])[:3],
        "untrained": list(untrained),
    }
    return record("quality", of, {"dataset": dataset, "digest": digest}, described)


def agrees(of: dict[str, Any], dataset: str = "pud") -> Record:
    row = {"mean_cosine": 0.98, "worst_cosine": 0.9, "worst_index": 3, "top1_overlap": 90.0, "top10_overlap": 85.0}
    means = {
        name: {key: row[key] for key in ("mean_cosine", "top1_overlap", "top10_overlap")} for name in ("en", "all")
    }
    languages = {"de": row, "en": {**row, "worst_cosine": 0.95}}
    values = {"measures": ["mean_cosine"], "languages": languages, "means": means, "headline": "all", "worst": ["de"]}
    config = {"dataset": dataset, "digest": "d", "teacher": "t"}
    return record("agreement", of, config, {**values, "untrained": [], "with": "teacher"})
