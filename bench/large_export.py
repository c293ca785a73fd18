"""Export a model of LaBSE's shape and say what it took: 471 M random parameters, 501,153 pieces, CLS, Dense, tanh.

    python bench/large_export.py --work DIR [--formats fp32,int8] [--sentences 3] [--out results.jsonl]

The export runs in a process of its own, gates included, on the first sentences of each language. Peak memory is what
the kernel counted for that process: weights that it maps from disk are in it.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PIECES, HIDDEN, FFN, LAYERS, HEADS = 501_153, 768, 3072, 12, 12
BLOCK = 1 << 20  # values made at a time
EXPORT = """
import sys
from pathlib import Path
from compact_labse.formats.onnx.write import CALIBRATION_TEXTS
from compact_labse.pipelines import load_pipeline

model, out, formats, count = sys.argv[1:]
pipeline = load_pipeline("export", "onnx_export")
whole, kept = pipeline._sample, {"test": int(count), "calibration": CALIBRATION_TEXTS + int(count)}
pipeline._sample = lambda *wanted: {code: texts[: kept[wanted[-1]]] for code, texts in whole(*wanted).items()}
loosen = {"neighbours": 0.5, "language_neighbours": 0.0} if "int8" in formats else {}
reason = "random weights: sentences have no near neighbours" if loosen else ""
pipeline.run(pipeline.OnnxExport(model=model, out=Path(out), formats=tuple(formats.split(",")), overwrite=True,
                                 loosen=loosen, reason=reason))
"""


def write_model(folder: Path) -> None:
    """Write the model folder; its weights are drawn block by block, never all in memory."""
    import torch
    from transformers import BertConfig, BertModel

    from compact_labse import sample
    from compact_labse.folder import writing_folder

    config = BertConfig(
        vocab_size=PIECES,
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
    )
    with torch.device("meta"):
        body = BertModel(config, add_pooling_layer=False)
    characters = sorted({c for texts in sample.parallel().values() for text in texts for c in text if not c.isspace()})
    with writing_folder(folder, overwrite=True) as new:
        config.save_pretrained(new)
        write_tensors(new / "model.safetensors", {name: list(value.shape) for name, value in body.state_dict().items()})
        write_tokenizer(new / "tokenizer.json", characters)
        _json(new / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 256})
        kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
        modules = [
            {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for place, (path, kind) in enumerate(kinds.items())
        ]
        _json(new / "modules.json", modules)
        _json(new / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": True})
        dense = {"in_features": HIDDEN, "out_features": HIDDEN, "bias": True}
        _json(new / "2_Dense" / "config.json", {**dense, "activation_function": "torch.nn.modules.activation.Tanh"})
        shapes = {"linear.weight": [HIDDEN, HIDDEN], "linear.bias": [HIDDEN]}
        write_tensors(new / "2_Dense" / "model.safetensors", shapes)


def write_tensors(path: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file of random float32 tensors: scales of normalisations are ones, everything else is small."""
    import numpy as np

    rng, header, offset = np.random.default_rng(0), {}, 0
    for name, shape in shapes.items():
        size = 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shapes.items():
            left = int(np.prod(shape))
            while left:
                values = rng.standard_normal(min(left, BLOCK), dtype=np.float32) * np.float32(0.04)
                file.write((1 + values if "LayerNorm.weight" in name else values).tobytes())
                left -= len(values)


def write_tokenizer(path: Path, characters: list[str]) -> None:
    """A WordPiece of 501,153 pieces: special tokens, characters, and names that no text has."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*names, *characters, *(f"##{c}" for c in characters)]
    pieces += [f"[unused{place}]" for place in range(PIECES - len(pieces))]
    vocabulary = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(names)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.save(str(path))


def measure(model: Path, out: Path, formats: str, sentences: int) -> dict[str, Any]:
    """Export in a process of its own: peak memory, time, files."""
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", EXPORT, str(model), str(out), formats, str(sentences)], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "what": "export of a model of LaBSE's shape",
        "parameters": _parameters(model),
        "formats": formats.split(","),
        "sentences_per_language": sentences,
        "peak_rss_gib": round(used.ru_maxrss / 2**20, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "wall_s": round(time.monotonic() - started, 1),
        "bytes": {path.name: path.stat().st_size for path in sorted((out / "onnx").glob("*.onnx*"))},
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _parameters(model: Path) -> int:
    return sum(path.stat().st_size for path in model.rglob("*.safetensors")) // 4


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def main() -> None:
    """Make the model unless it is there, export it, print and append the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and its export: 6 GB")
    parser.add_argument("--formats", default="fp32,int8")
    parser.add_argument("--sentences", type=int, default=3, help="of each language, for the gates")
    parser.add_argument("--out", type=Path, help="append the figures to this file")
    args = parser.parse_args()
    if not (args.work / "model").is_dir():
        write_model(args.work / "model")
    figures = measure(args.work / "model", args.work / "exported", args.formats, args.sentences)
    line = json.dumps(figures)
    print(line)
    if args.out is not None:
        with open(args.out, "a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
