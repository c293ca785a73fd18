"""Write a transformer that was changed in memory into a copy of its folder."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors.torch import save_file
from transformers import AutoModel

from compact_labse.compress.model_files import copy_rest
from compact_labse.errors import GateError
from compact_labse.heads import Dense
from compact_labse.sentence_model import SentenceModel
from compact_labse.settings import read_json
from compact_labse.students.saving import no_bar

WIDTHS = ("word_embedding_dimension", "embedding_dimension")


def save_pruned(folder: Path, new: Path, path: PurePosixPath, module: SentenceModel) -> None:
    """Everything of `folder` with the transformer and heads of `module`."""
    copy_rest(folder, new, path, written=("config.json",))
    (new / path).mkdir(parents=True, exist_ok=True)
    body: Any = module.body
    with no_bar():
        body.transformer.save_pretrained(new / path)
    heads = iter([head for group in (module.token_heads, module.sentence_heads) for head in group])
    for kind, place in _modules(new):
        if kind == "Pooling":
            changes = {name: module.body.dim for name in WIDTHS if name in read_json(place / "config.json")}
            _change(place / "config.json", changes)
        elif kind == "Dense":
            dense = next(head for head in heads if isinstance(head, Dense))
            _change(
                place / "config.json", {"in_features": dense.linear.in_features, "bias": dense.linear.bias is not None}
            )
            weights = {name: value.contiguous() for name, value in dense.state_dict().items()}
            save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def stock_of(changed: Any) -> Any:
    """A transformer's weights in a model that its own config builds; GateError if no stock model has such shapes."""
    stock = AutoModel.from_config(changed.config)
    if getattr(stock, "pooler", None) is not None:
        setattr(stock, "pooler", None)  # noqa: B010  no sentence vector uses it
    weights = changed.state_dict()
    for name, value in stock.state_dict().items():
        if name not in weights or weights[name].shape != value.shape:
            raise GateError(
                f"the pruned model is no stock {changed.config.model_type}: {name} is not {list(value.shape)}"
            )
    stock.load_state_dict(weights)
    stock.config.dtype = "float32"
    return stock.eval()


def _modules(folder: Path) -> list[tuple[str, Path]]:
    file = folder / "modules.json"
    if not file.is_file():
        return []
    entries = json.loads(file.read_text(encoding="utf-8"))
    return [(entry["type"].rpartition(".")[2], folder / entry["path"]) for entry in entries]


def _change(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(json.dumps(read_json(path) | changes, indent=2) + "\n", encoding="utf-8")
