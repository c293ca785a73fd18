"""Write a transformer that was changed in memory into a copy of its folder."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel

from compact_labse.bodies import StaticBody
from compact_labse.compress.model_files import copy_rest
from compact_labse.errors import GateError
from compact_labse.formats.contract import RANGES
from compact_labse.heads import Dense
from compact_labse.sentence_model import SentenceModel
from compact_labse.settings import read_json
from compact_labse.students.saving import MODULE, no_bar

WIDTHS = ("word_embedding_dimension", "embedding_dimension")


def save_pruned(folder: Path, new: Path, path: PurePosixPath, module: SentenceModel) -> None:
    """Everything of `folder` with the body and heads of `module`."""
    body: Any = module.body
    copy_rest(folder, new, path, written=() if isinstance(body, StaticBody) else ("config.json",))
    (new / RANGES).unlink(missing_ok=True)  # layers have other numbers and other inputs now
    (new / path).mkdir(parents=True, exist_ok=True)
    if isinstance(body, StaticBody):
        table = {"embedding.weight": body.embedding.weight.detach().contiguous()}
        save_file(table, new / path / "model.safetensors", metadata={"format": "pt"})
        insert_dense(new, 1)
    else:
        with no_bar():
            body.transformer.save_pretrained(new / path)
    heads = iter([head for group in (module.token_heads, module.sentence_heads) for head in group])
    for kind, place in _modules(new):
        if kind == "Pooling":
            changes = {name: module.body.dim for name in WIDTHS if name in read_json(place / "config.json")}
            _change(place / "config.json", changes)
        elif kind == "Dense":
            _save_dense(next(head for head in heads if isinstance(head, Dense)), place)


def _save_dense(dense: Dense, place: Path) -> None:
    sizes = {"in_features": dense.linear.in_features, "out_features": dense.linear.out_features}
    _change(place / "config.json", {**sizes, "bias": dense.linear.bias is not None})
    weights = {name: value.contiguous() for name, value in dense.state_dict().items()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def insert_dense(folder: Path, place: int, weight_ED: Tensor | None = None) -> None:
    """A Dense without activation as so-manieth module of a folder; without its weights, they are written later."""
    file = folder / "modules.json"
    entries = json.loads(file.read_text(encoding="utf-8"))
    name = next(name for name in (f"{number}_Dense" for number in count(place)) if not (folder / name).exists())
    entries.insert(place, {"path": name, "type": f"{MODULE}Dense"})
    entries = [{**entry, "idx": place, "name": str(place)} for place, entry in enumerate(entries)]
    file.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (folder / name).mkdir()
    _change(folder / name / "config.json", {"activation_function": "torch.nn.modules.linear.Identity"})
    if weight_ED is not None:
        sizes = {"in_features": weight_ED.shape[1], "out_features": weight_ED.shape[0]}
        _change(folder / name / "config.json", {**sizes, "bias": False})
        save_file({"linear.weight": weight_ED}, folder / name / "model.safetensors", metadata={"format": "pt"})


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
