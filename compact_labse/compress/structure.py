"""Prune a transformer's structure: whole layers, heads, feed-forward columns and hidden dimensions, so that its tensors
get smaller and a stock model comes out.

Layers go one by one, always the one whose absence moves the vectors least. Heads, columns and dimensions go by their
importance on calibration text; the matrices after them take over what can be told from those that stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.bodies import StaticBody, TransformerBody
from compact_labse.compress import calibration, surgery
from compact_labse.compress.alignment import align, states_of
from compact_labse.compress.architecture import Body
from compact_labse.compress.importance import Feed, measure
from compact_labse.compress.layers import choose_layers
from compact_labse.compress.model_files import body_path, model_folder, sentence_folder
from compact_labse.compress.saving import save_pruned, stock_of
from compact_labse.compress.table_width import narrow_bert, narrow_static
from compact_labse.corpus.files import content_hashes
from compact_labse.errors import GateError, UserError
from compact_labse.folder import check_out, model_hash, write_lineage, writing_folder
from compact_labse.sentence_model import SentenceModel
from compact_labse.torch_encoder import TorchEncoder

SIZES = ("layers", "heads", "ffn", "dim")
SAME = 0.99999  # cosine of a vector from the folder written with the one computed in memory


@dataclass(frozen=True, kw_only=True)
class Prune:
    """What to prune.

    Args:
        model: Name or folder of the model.
        data: Files of text to measure on.
        out: Folder that is written.
        layers: Layers that stay.
        heads: Attention heads that stay in every layer; the hidden width becomes this many times a head's width.
        ffn: Feed-forward columns that stay in every layer.
        dim: Hidden width; another way to say `heads`.
        table: Width of the table of token vectors, of a BERT (which becomes an ELECTRA) or a bag of tokens.
        texts: Texts to calibrate on, and as many others to report on.
        pooling: Of a plain transformers folder: mean, cls or pooler.
        overwrite: Replace `out`.
    """

    model: str
    data: tuple[str, ...]
    out: Path
    layers: int | None = None
    heads: int | None = None
    ffn: int | None = None
    dim: int | None = None
    table: int | None = None
    texts: int = 256
    pooling: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in (*SIZES, "table")):
            raise UserError("nothing to prune: give at least one of --layers, --heads, --ffn, --dim, --table")
        for name in (*SIZES, "table"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.texts < 8:
            raise UserError(f"--texts must be at least 8, got {self.texts}")


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What pruning did. Damage is one minus the mean cosine of the vectors of texts that nothing was chosen on."""

    before: dict[str, int]
    after: dict[str, int]
    kept_layers: list[int]
    parameters_before: int
    parameters_after: int
    layer_damage: list[float]
    damage: float


def prune(cfg: Prune) -> Pruned:
    """Write the pruned model folder and say what it cost; the folder appears whole or not at all."""
    check_out(Path(cfg.out), cfg.overwrite, model_folder(cfg.model))
    with sentence_folder(cfg.model, cfg.pooling) as folder:
        return _prune(cfg, folder)


def _prune(cfg: Prune, folder: Path) -> Pruned:
    source = TorchEncoder.open(folder, device="cpu")
    module = source.module
    before = _sizes(module, str(folder))
    after = _wanted(cfg, before, str(folder))
    texts = calibration.some_texts(cfg.data, 2 * cfg.texts)
    used, other = texts[: len(texts) // 2], texts[len(texts) // 2 :]
    feeds, held = (list(calibration.feeds(source.tokens, group)) for group in (used, other))
    vectors_before = calibration.vectors(module, held, len(other))
    count = sum(parameter.numel() for parameter in module.parameters())
    kept, steps = list[int](), list[float]()
    if isinstance(module.body, StaticBody):
        narrow_static(module, feeds, after["table"])
    else:
        kept, steps = _cut_transformer(module, str(folder), feeds, len(used), after)
    vectors_after = calibration.vectors(module, held, len(other))
    done = Pruned(
        before=before,
        after=after,
        kept_layers=kept,
        parameters_before=count,
        parameters_after=sum(parameter.numel() for parameter in module.parameters()),
        layer_damage=steps,
        damage=calibration.damage(vectors_before, vectors_after),
    )
    _write(cfg, folder, source, done, other, vectors_after)
    return done


def sizes_of(cfg: Prune) -> tuple[dict[str, int], dict[str, int]]:
    """The sizes of the model and those that it is to have; UserError if they do not fit."""
    with sentence_folder(cfg.model, cfg.pooling) as folder:
        before = _sizes(TorchEncoder.open(folder, device="cpu").module, cfg.model)
    return before, _wanted(cfg, before, cfg.model)


def _cut_transformer(
    module: SentenceModel, where: str, feeds: Sequence[Feed], count: int, after: dict[str, int]
) -> tuple[list[int], list[float]]:
    """Layers, then columns, heads and width, then the table; at last the hidden states are aligned to the old ones."""
    body = Body(module.body.transformer, where)
    wanted = states_of(module, body, feeds)
    kept, steps = choose_layers(module, body, feeds, count, after["layers"])
    surgery.keep_layers(body, kept)
    dims = cut(module, body, feeds, after)
    module.body.transformer = stock_of(body.transformer)
    body = Body(module.body.transformer, where)
    if after["table"] != body.table_width:
        module.body = TransformerBody(narrow_bert(body, feeds, after["table"]))
        body = Body(module.body.transformer, where)
    states = {f"{place}.{part}": wanted[f"{old}.{part}"] for place, old in enumerate(kept) for part in _PARTS}
    states["embeddings"] = wanted["embeddings"]
    align(module, body, feeds, states if dims is None else {name: state[:, dims] for name, state in states.items()})
    return kept, steps


_PARTS = ("attention_norm", "norm")


def cut(module: SentenceModel, body: Body, feeds: Sequence[Feed], after: dict[str, int]) -> Any:
    """Cut columns, heads and width of the layers that stay; gives the dimensions kept, or None if all are."""
    narrower = after["dim"] < body.size("dim")
    if not narrower and after["ffn"] == body.size("ffn"):
        return None
    found = measure(module, body, feeds)
    if after["ffn"] < body.size("ffn"):
        surgery.cut_ffn(body, found, after["ffn"])
    if not narrower:
        return None
    surgery.cut_heads(body, found, after["heads"])
    return surgery.cut_dim(module, body, found, after["dim"])


def _sizes(module: SentenceModel, where: str) -> dict[str, int]:
    if isinstance(module.body, StaticBody):
        return {"table": module.body.dim}
    body = Body(module.body.transformer, where)
    return {name: body.size(name) for name in SIZES} | {"table": body.table_width}


def _wanted(cfg: Prune, there: dict[str, int], where: str) -> dict[str, int]:
    """The sizes asked for; UserError if they do not fit together or are not smaller."""
    if "heads" not in there:
        if cfg.table is None or any(getattr(cfg, name) is not None for name in SIZES):
            raise UserError(
                f"{where} is a bag of tokens: it has no layers to prune; --table narrows it, trim shortens it"
            )
        return {"table": cfg.table}
    head_dim = there["dim"] // there["heads"]
    heads = cfg.heads if cfg.heads is not None else there["heads"] if cfg.dim is None else cfg.dim // head_dim
    dim = cfg.dim if cfg.dim is not None else heads * head_dim
    if dim != heads * head_dim and dim % head_dim == 0:
        raise UserError(
            f"--dim {dim} and --heads {heads} do not fit: a stock model's hidden width is its heads times their "
            f"{head_dim} values, {heads * head_dim}; give one of the two"
        )
    if dim != heads * head_dim:
        near = sorted({max(1, dim // head_dim) * head_dim, (dim // head_dim + 1) * head_dim})
        raise UserError(
            f"--dim {dim} does not divide into heads of {head_dim} values ({heads} heads make {heads * head_dim}): "
            f"a stock model's hidden width is heads times {head_dim}, say {' or '.join(map(str, near))}"
        )
    factored = there["table"] != there["dim"]
    if factored and dim == there["table"]:
        raise UserError(f"a stock ELECTRA {dim} wide has no projection from a table of that width: choose another")
    after = {"layers": cfg.layers or there["layers"], "heads": heads, "ffn": cfg.ffn or there["ffn"], "dim": dim}
    for name, size in after.items():
        if size > there[name]:
            raise UserError(f"--{name} is {size}, but the model has only {there[name]}")
    after["table"] = cfg.table or (there["table"] if factored else dim)
    if after == there:
        raise UserError(f"the model already has {', '.join(f'{name} {size}' for name, size in there.items())}")
    return after


def _write(
    cfg: Prune, folder: Path, source: TorchEncoder, done: Pruned, texts: list[str], vectors_after: np.ndarray
) -> None:
    with writing_folder(cfg.out, overwrite=cfg.overwrite) as new:
        save_pruned(folder, new, body_path(folder), source.module)
        read = TorchEncoder.open(new, device="cpu").encode(texts)
        worst = float(np.einsum("nd,nd->n", read, vectors_after).min())
        if worst < SAME:
            raise GateError(f"the folder's vectors are not those computed while pruning: cosine {worst:.6f} < {SAME}")
        inputs = content_hashes(cfg.data) | {cfg.model: model_hash(model_folder(cfg.model))}
        write_lineage(new, command="prune", config=asdict(cfg) | {"result": asdict(done)}, inputs=inputs)
