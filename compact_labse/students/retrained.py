"""Model folders around training: the one that it starts from, and the same with the weights that came of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from compact_labse.bodies import StaticBody
from compact_labse.conversion.modules import copy_dense, write_modules
from compact_labse.errors import UserError
from compact_labse.formats.contract import RANGES
from compact_labse.heads import HEADS
from compact_labse.progress import say
from compact_labse.sentence_model import SentenceModel, module_entries, read_modules
from compact_labse.settings import read_json
from compact_labse.students.config import StudentConfig
from compact_labse.students.saving import no_bar, save_student
from compact_labse.students.start import new_student
from compact_labse.weights import has_pooler

POOLER, MODES = "pooler", {"mean": "mean", "cls": "cls", "pooler": "cls"}
LEFT_OUT = ("onnx", "tflite", "saved_model", "openvino", "lineage.json", "README.md", "config.yaml", RANGES, "*.bin")
WEIGHTS = "*.safetensors*"


def write_new(config: StudentConfig, tokenizer: Tokenizer, pooling: str, seed: int, folder: Path) -> dict[str, Any]:
    """A new model of that shape in the existing folder `folder`, with its first weights; the same for the same seed."""
    save_student(new_student(config, tokenizer, None, seed), tokenizer, folder)
    if pooling == "mean":
        return {}
    for path in folder.glob("[12]_*"):
        shutil.rmtree(path)
    write_modules(folder, MODES[pooling], config.dim, dense=pooling == POOLER)
    if pooling == POOLER:
        _new_dense(config.dim, folder)
    return {}


def write_pooled(source: Path, pooling: str | None, folder: Path) -> dict[str, Any]:
    """A plain transformers folder as a sentence-transformers one, in the existing folder `folder`."""
    if pooling is None:
        raise UserError(f"{source} does not say how to pool: give --pooling mean, cls or pooler")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    config = read_json(folder / "config.json", required=True)
    size = config.get("hidden_size", config.get("dim"))  # DistilBERT's name
    if not isinstance(size, int):
        raise UserError(f"{source / 'config.json'} names no hidden_size, so that nothing can be pooled")
    write_modules(folder, MODES[pooling], size, dense=pooling == POOLER)
    if pooling == POOLER and _has_mlm_head(folder) and not has_pooler(source):
        say(f"pooler: a random one, as {source} has a head for masked language modelling, which trains none")
        _new_dense(size, folder)
    elif pooling == POOLER:
        copy_dense(source, folder)
        say(f"pooler: the one in the weights of {source}")
    return {}


def _has_mlm_head(folder: Path) -> bool:
    names = read_json(folder / "config.json").get("architectures") or [""]
    return str(names[0]).endswith("ForMaskedLM")


def _new_dense(size: int, folder: Path) -> None:
    weight = torch.empty(size, size).normal_(std=0.02, generator=torch.Generator().manual_seed(0))
    dense = {"linear.weight": weight, "linear.bias": torch.zeros(size)}
    save_file(dense, folder / "2_Dense" / "model.safetensors", metadata={"format": "pt"})


def save_like(weights: dict[str, Tensor], start: Path, folder: Path) -> None:
    """The model folder `start` with other weights (a `SentenceModel`'s state), written into the folder `folder`."""
    model, _ = read_modules(start)
    model.load_state_dict(weights)
    ignored = shutil.ignore_patterns(*LEFT_OUT, WEIGHTS)
    shutil.copytree(start, folder, ignore=ignored, dirs_exist_ok=True)
    (_, body_folder), *rest = module_entries(folder)
    _save_body(model, body_folder)
    heads = iter([*model.token_heads, *model.sentence_heads])
    for kind, place in rest:
        state = next(heads).state_dict() if kind in HEADS else {}
        if state:
            save_file({name: value.contiguous() for name, value in state.items()}, place / "model.safetensors")


def _save_body(model: SentenceModel, folder: Path) -> None:
    if isinstance(model.body, StaticBody):
        save_file({"embedding.weight": model.body.embedding.weight.detach()}, folder / "model.safetensors")
        return
    with no_bar():
        model.body.transformer.save_pretrained(folder)
