"""What sentence-transformers needs around a transformer: modules, their settings, and BERT's pooler as a Dense."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODULE = "sentence_transformers.models."


def write_modules(folder: Path, mode: str, size: int, *, dense: bool = False) -> None:
    """`modules.json` and the settings of pooling, dense layer (tanh, `size` to `size`) and unit length."""
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    paths = [f"{place}_{kind}" if place else "" for place, kind in enumerate(kinds)]
    entries = [
        {"idx": place, "name": str(place), "path": path, "type": MODULE + kind}
        for place, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", entries)
    for path in paths[1:]:
        (folder / path).mkdir()
    flags = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}
    modes = {f"pooling_mode_{flag}": name == mode for name, flag in flags.items()}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": size, **modes})
    if dense:
        activation = "torch.nn.modules.activation.Tanh"
        config = {"in_features": size, "out_features": size, "bias": True, "activation_function": activation}
        write_json(folder / "2_Dense" / "config.json", config)


def copy_dense(source: Path, folder: Path) -> None:
    """The transformer's own pooler as the folder's Dense; UserError if it has none."""
    import torch
    from safetensors.torch import save_file

    from compact_labse.weights import dense_pooler

    kernel, bias = dense_pooler(source)
    weights = {"linear.weight": torch.from_numpy(kernel.T.copy()), "linear.bias": torch.from_numpy(bias)}
    save_file(weights, folder / "2_Dense" / "model.safetensors", metadata={"format": "pt"})


def write_json(path: Path, content: Any) -> None:
    """Write JSON as a reader likes it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
