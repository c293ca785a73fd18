"""Records as a benchmark would write them, without measuring anything."""

from __future__ import annotations

from typing import Any

from compact_labse.measure.results import Record, record
from compact_labse.measure.speed.latency import Cell

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


_MEASURED: dict[str, dict[str, float]] = {
    "mining": {"f1": 81.0, "precision": 85.0, "recall": 78.0},
    "search": {"recall_1": 84.0, "recall_5": 90.0, "recall_10": 95.0, "mrr": 88.0},
    "quantized": {
        "int8": 99.0,
        "binary": 60.0,
        "rescored": 93.0,
        **{f"first_{name}": 80.0 for name in ("float32", "int8", "binary", "rescored")},
    },
    "truncated": {"dim_64": 90.0, "dim_32": 85.0, "dim_16": 60.0},
    "batches": {
        "batch_8": 0.999,
        "batch_64": 0.998,
        "padded_128": 0.997,
        **{f"changed_{name}": 1.0 for name in ("batch_8", "batch_64", "padded_128")},
    },
    "space": {"separation": 99.0, "pair_cosine": 0.7, "other_cosine": 0.1},
}


def measured(of: dict[str, Any], kind: str, dataset: str = "pud") -> Record:
    """A record of one of the costly measures, with a little picture for `space`."""
    figures = _MEASURED[kind]
    values: dict[str, Any] = {
        "measures": list(figures),
        "languages": {"de": dict(figures), "ko": {name: value - 5 for name, value in figures.items()}},
        "means": {"all": dict(figures)},
        "headline": "all",
        "worst": ["ko", "de"],
        "untrained": [],
    }
    if kind == "quantized":
        values["bytes"] = {"float32": 256, "int8": 64, "binary": 8}
    if kind == "batches":
        values["lowest"] = {"batch_8": 0.999, "batch_64": 0.998, "padded_128": 0.997}
    if kind == "space":
        points = {"de": [[0, 10], [500, 20]], "ko": [[-900, 30], [10, 1000]], "en": [[0, 0], [400, 100]]}
        counts = {"pairs": [0] * 30 + [2] * 10, "others": [4] * 10 + [0] * 30}
        values |= {"histograms": {"de": counts, "ko": counts}, "shared_english": True}
        values["picture"] = {"pca": points, "umap": None, "shown": 23.0}
    return record(kind, of, {"dataset": dataset, "digest": "d"}, values)
