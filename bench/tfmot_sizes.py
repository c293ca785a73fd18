"""What TensorFlow's model-optimization kit does for the size of a download: pruned and clustered linear layers.

    python bench/tfmot_sizes.py minilm --out bench/results/tflite/tfmot_weights.jsonl
    python bench/tfmot_sizes.py minilm --files --out bench/results/tflite/tfmot.jsonl

Neither pruning nor clustering makes a file smaller; both make it compress better. Beside them stand the same layers in
8 and 4 bits: what counts is the vectors at equal bytes, zipped. The layers alone are measured, computed in float32;
with `--files` whole TFLite files in float32 and int8. Weights are not trained afterwards.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse import load, sample
from compact_labse.errors import require
from compact_labse.formats.gates.agreement import cosines
from compact_labse.formats.integers import blocks4, columns8
from compact_labse.progress import say


@dataclass(frozen=True, kw_only=True)
class Variant:
    """How linear layers are changed: a share of weights set to zero, a few values per layer, or few bits (ours)."""

    name: str
    sparsity: float = 0.0
    clusters: int = 0
    bits: int = 0


VARIANTS = (
    Variant(name="as trained"),
    Variant(name="pruned 20 %", sparsity=0.2),
    Variant(name="pruned 50 %", sparsity=0.5),
    Variant(name="clustered 256", clusters=256),
    Variant(name="clustered 64", clusters=64),
    Variant(name="clustered 16", clusters=16),
)
OURS = (Variant(name="8 bits, a scale a column", bits=8), Variant(name="4 bits, a scale every 32", bits=4))
BLOCK = 32


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
    start = kit.CentroidInitialization.KMEANS_PLUS_PLUS  # the density-based one finds 3 to 15 values here
    return kit.strip_clustering(
        kit.cluster_weights(model, number_of_clusters=variant.clusters, cluster_centroids_init=start)
    )


def stored(kernels: list[np.ndarray], variant: Variant) -> tuple[list[np.ndarray], bytes]:
    """The kernels that a reader gets, and the bytes that a file holds of them."""
    if not variant.bits:
        found = changed(kernels, variant)
        return found, b"".join(kernel.tobytes() for kernel in found)
    pairs = [columns8(kernel) if variant.bits == 8 else blocks4(kernel, BLOCK) for kernel in kernels]
    content = b"".join(part.tobytes() for pair in pairs for part in pair)
    if variant.bits == 8:
        return [codes_KN * scale_N for codes_KN, scale_N in pairs], content
    return [unblock4(*pair, len(kernel)) for pair, kernel in zip(pairs, kernels, strict=True)], content


def unblock4(packed: np.ndarray, scale: np.ndarray, inputs: int) -> np.ndarray:
    """The kernel `[in, out]` that the codes and scales of `blocks4` stand for."""
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:2], -1).astype(np.float32) - 8
    return (codes * scale.reshape(*packed.shape[:2], 1)).reshape(len(packed), -1)[:, :inputs].T


def zipped(content: bytes) -> int:
    """Bytes after zip at its strongest."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        file.writestr("model.tflite", content)
    return len(archive.getvalue())


def measure(encoder: Any, variant: Variant, kind: str, texts: list[str], source_ND: np.ndarray) -> dict[str, Any]:
    """Bytes of the file, bytes zipped, and cosines with what the trained weights make of the texts."""
    from compact_labse.formats.tflite import write as tflite_write
    from compact_labse.tflite_encoder import TFLiteEncoder

    job = tflite_write.Job(source=encoder, converter="tensorflow", test={})
    content = tflite_write._content(job, kind, tflite_write.facts_of(job, kind))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        encoder.tokens.tokenizer.save(f"{folder}/tokenizer.json")
        found = cosines(source_ND, TFLiteEncoder.open(path).encode(texts))
    return {
        "variant": variant.name,
        "format": kind,
        "bytes": len(content),
        "zipped": zipped(content),
        "mean_cosine": round(float(found.mean()), 5),
        "worst_cosine": round(float(found.min()), 5),
    }


def rows(
    encoder: Any, variant: Variant, trained: list[np.ndarray], texts: list[str], source_ND: np.ndarray, files: bool
) -> Iterator[dict[str, Any]]:
    """Put a variant into the encoder and measure it: its layers, or whole files."""
    import torch

    kernels, content = stored(trained, variant)
    for linear, kernel in zip(_linears(encoder), kernels, strict=True):
        linear.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
    if files:
        for kind in ("fp32", "int8"):
            yield measure(encoder, variant, kind, texts, source_ND)
        return
    found = cosines(source_ND, encoder.encode(texts))
    yield {
        "variant": variant.name,
        "format": "linear layers",
        "bytes": len(content),
        "zipped": zipped(content),
        "mean_cosine": round(float(found.mean()), 5),
        "worst_cosine": round(float(found.min()), 5),
    }


def _linears(encoder: Any) -> list[Any]:
    import torch

    return [module for module in encoder.module.body.modules() if isinstance(module, torch.nn.Linear)]


def main(argv: list[str] | None = None) -> int:
    """Measure every variant, append the records, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=10, help="of each language")
    parser.add_argument("--files", action="store_true", help="whole TFLite files, not the layers alone")
    args = parser.parse_args(argv)
    texts = [text for group in sample.parallel("test").values() for text in group[: args.sentences]]
    encoder: Any = load(args.model, device="cpu")
    trained = [linear.weight.detach().numpy().T.copy() for linear in _linears(encoder)]
    source_ND = encoder.encode(texts)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    print("| linear layers | format | MB | MB zipped | mean cosine | worst |\n|---|---|---|---|---|---|")
    for variant in VARIANTS if args.files else (*VARIANTS, *OURS):
        say(f"{args.model}: {variant.name}")
        for found in rows(encoder, variant, trained, texts, source_ND, args.files):
            record = {"model": args.model, **found}
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            size, packed = (record[name] / 1e6 for name in ("bytes", "zipped"))
            figures = f"{size:.1f} | {packed:.1f} | {record['mean_cosine']:.4f} | {record['worst_cosine']:.4f}"
            print(f"| {variant.name} | {record['format']} | {figures} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
