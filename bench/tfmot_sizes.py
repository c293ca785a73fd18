"""What TensorFlow's model-optimization kit does for the size of a TFLite download: pruned and clustered linear layers.

    python bench/tfmot_sizes.py minilm --out bench/results/tflite/tfmot.jsonl

Neither pruning nor clustering makes a file smaller; both make it compress better. Each variant is written in float32
and int8, zipped, and compared with its source on the embedded sentences. Weights are not trained afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse import load, sample
from compact_labse.errors import require
from compact_labse.formats.gates.agreement import cosines
from compact_labse.progress import say


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How linear layers are changed: a share of weights set to zero, or weights drawn to a few values per layer."""

    name: str
    sparsity: float = 0.0
    clusters: int = 0


VARIANTS = (
    Variant(name="as trained"),
    Variant(name="pruned 20 %", sparsity=0.2),
    Variant(name="pruned 50 %", sparsity=0.5),
    Variant(name="clustered 64", clusters=64),
    Variant(name="clustered 16", clusters=16),
)


def changed(kernels: list[np.ndarray], variant: Variant) -> list[np.ndarray]:
    """Kernels `[in, out]` as the kit leaves them: pruned by magnitude or clustered, in the same order."""
    if not variant.sparsity and not variant.clusters:
        return kernels
    keras = require("tf_keras", "tensorflow")
    inputs = [keras.Input((len(kernel),)) for kernel in kernels]
    layers = [keras.layers.Dense(kernel.shape[1], use_bias=False) for kernel in kernels]
    model = keras.Model(inputs, [layer(x) for layer, x in zip(layers, inputs, strict=True)])
    model.set_weights(kernels)
    stripped = _pruned(model, variant) if variant.sparsity else _clustered(model, variant)
    # the kit names layers anew; their order stays
    return [layer.get_weights()[0] for layer in stripped.layers if layer.get_weights()]


def _pruned(model: Any, variant: Variant) -> Any:
    kit = require("tensorflow_model_optimization", "tensorflow").sparsity.keras
    schedule = kit.ConstantSparsity(variant.sparsity, begin_step=0, end_step=1, frequency=1)
    wrapped = kit.prune_low_magnitude(model, pruning_schedule=schedule)
    wrapped.compile("sgd", "mse")
    wrapped.optimizer.learning_rate = 0.0
    zeros = [np.zeros((1, tensor.shape[1]), np.float32) for tensor in (*model.inputs, *model.outputs)]
    count = len(model.inputs)
    wrapped.fit(zeros[:count], zeros[count:], epochs=1, verbose=0, callbacks=[kit.UpdatePruningStep()])
    return kit.strip_pruning(wrapped)


def _clustered(model: Any, variant: Variant) -> Any:
    kit = require("tensorflow_model_optimization", "tensorflow").clustering.keras
    start = kit.CentroidInitialization.DENSITY_BASED
    return kit.strip_clustering(
        kit.cluster_weights(model, number_of_clusters=variant.clusters, cluster_centroids_init=start)
    )


def measure(encoder: Any, variant: Variant, kind: str, texts: list[str], source_ND: np.ndarray) -> dict[str, Any]:
    """Bytes of the file, bytes zipped, and cosines with what the trained weights make of the texts."""
    from compact_labse.formats.tflite import write as tflite_write
    from compact_labse.tflite_encoder import TFLiteEncoder

    job = tflite_write.Job(source=encoder, converter="tensorflow", test={})
    content = tflite_write._content(job, kind, tflite_write.facts_of(job, kind))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("model.tflite", content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        encoder.tokens.tokenizer.save(f"{folder}/tokenizer.json")
        found = cosines(source_ND, TFLiteEncoder.open(path).encode(texts))
    return {
        "variant": variant.name,
        "format": kind,
        "bytes": len(content),
        "zipped": len(archive.getvalue()),
        "mean_cosine": round(float(found.mean()), 5),
        "worst_cosine": round(float(found.min()), 5),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure every variant in float32 and int8, append the records, print a table."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=10, help="of each language")
    args = parser.parse_args(argv)
    texts = [text for group in sample.parallel("test").values() for text in group[: args.sentences]]
    encoder: Any = load(args.model, device="cpu")
    linears = [module for module in encoder.module.body.modules() if isinstance(module, torch.nn.Linear)]
    trained = [linear.weight.detach().numpy().T.copy() for linear in linears]
    source_ND = encoder.encode(texts)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print("| linear layers | format | MB | MB zipped | mean cosine | worst |\n|---|---|---|---|---|---|")
    for variant in VARIANTS:
        say(f"{args.model}: {variant.name}")
        for linear, kernel in zip(linears, changed(trained, variant), strict=True):
            linear.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
        for kind in ("fp32", "int8"):
            record = {"model": args.model, **measure(encoder, variant, kind, texts, source_ND)}
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            size, zipped = (record[name] / 1e6 for name in ("bytes", "zipped"))
            figures = f"{size:.1f} | {zipped:.1f} | {record['mean_cosine']:.4f} | {record['worst_cosine']:.4f}"
            print(f"| {variant.name} | {kind} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
