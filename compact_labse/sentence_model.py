"""A whole sentence encoder as one PyTorch module, read from a folder's `modules.json`.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor, nn

from compact_labse.bodies import StaticBody, TransformerBody, read_static, read_transformer
from compact_labse.errors import UserError
from compact_labse.heads import HEADS, SENTENCE, TOKENS, Dense, unit, works_on
from compact_labse.pooling import check_modes, pool, read_modes
from compact_labse.settings import default_prompt

BODIES: dict[str, Callable[[Path], TransformerBody | StaticBody]] = {
    "Transformer": read_transformer,
    "StaticEmbedding": read_static,
}


class SentenceModel(nn.Module):
    """Body, heads on tokens, pooling, heads on the sentence, unit length; what exports trace and students train.

    With CLS pooling the heads on the sentence run on every token and the first token's result is taken, which is the
    same vector: clients that only know "take CLS, normalise" then read it from `last_hidden_state`.
    """

    def __init__(
        self,
        body: TransformerBody | StaticBody,
        modes: tuple[str, ...] = ("mean",),
        *,
        token_heads: tuple[nn.Module, ...] = (),
        sentence_heads: tuple[nn.Module, ...] = (),
    ) -> None:
        super().__init__()
        self.body, self.modes = body, modes
        self.token_heads, self.sentence_heads = nn.ModuleList(token_heads), nn.ModuleList(sentence_heads)

    @property
    def dim(self) -> int:
        """D, the dimension of a sentence's vector."""
        dim = _out_dim(self.token_heads, self.body.dim)
        return _out_dim(self.sentence_heads, dim * len(self.modes))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Token vectors `[B, T, D']` and unit sentence vectors `[B, D]`, float32, of ids and mask `[B, T]`."""
        hidden_BTD = _full(self.body(input_ids, attention_mask, token_type_ids))
        for head in self.token_heads:
            hidden_BTD = head(hidden_BTD)
        if self.modes == ("cls",):
            for head in self.sentence_heads:
                hidden_BTD = head(hidden_BTD)
            return hidden_BTD, unit(_full(hidden_BTD[:, 0]))
        sentence_BD = pool(hidden_BTD, attention_mask, self.modes)
        for head in self.sentence_heads:
            sentence_BD = head(sentence_BD)
        return hidden_BTD, unit(_full(sentence_BD))


def read_plain(folder: Path, pooling: str) -> SentenceModel:
    """The model of a plain transformers folder with the pooling named."""
    return SentenceModel(read_transformer(folder), check_modes((pooling,), "pooling=")).eval()


def read_modules(folder: Path) -> tuple[SentenceModel, Path]:
    """The model that a folder's `modules.json` describes, and the folder of its body (with tokenizer and token limit).

    UserError naming the file if a module is unknown or out of order, or if dimensions of neighbours differ.
    """
    (kind, body_folder), *rest = module_entries(folder)
    if kind not in BODIES:
        raise UserError(f"{folder / 'modules.json'}: starts with {kind!r}, expected one of {', '.join(BODIES)}.")
    body = BODIES[kind](body_folder)
    modes: tuple[str, ...] | None = ("mean",) if isinstance(body, StaticBody) else None
    heads: dict[str, list[nn.Module]] = {TOKENS: [], SENTENCE: []}
    dim = body.dim
    for kind, place in rest:
        if kind == "Pooling" and modes is None:
            modes = read_modes(place / "config.json", dim, default_prompt(folder))
            dim *= len(modes)
        elif kind in HEADS and works_on(place) == (TOKENS if modes is None else SENTENCE):
            head = HEADS[kind](place, dim)
            heads[TOKENS if modes is None else SENTENCE].append(head)
            dim = _out_dim([head], dim)
        else:
            raise _refusal(folder, kind, place, pooled=modes is not None)
    if modes is None:
        raise UserError(f"{folder / 'modules.json'}: no Pooling follows the Transformer.")
    model = SentenceModel(body, modes, token_heads=tuple(heads[TOKENS]), sentence_heads=tuple(heads[SENTENCE]))
    return model.eval(), body_folder


def _full(x: Tensor) -> Tensor:
    """Half precision as float32; double stays what it is."""
    return x if x.dtype == torch.float64 else x.float()


def module_entries(folder: Path) -> list[tuple[str, Path]]:
    """Class name and folder of each module; class paths differ between versions, their last word does not."""
    file = folder / "modules.json"
    try:
        found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
        entries = [(str(entry["type"]), PurePosixPath(entry["path"])) for entry in found]
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"{file} is not a list of modules with 'type' and 'path': {error!r}.") from error
    if not entries:
        raise UserError(f"{file} names no module.")
    for kind, path in entries:
        if not kind.startswith("sentence_transformers."):
            raise UserError(f"{file}: {kind!r} is code of the model's own, which is never run here.")
        if path.is_absolute() or ".." in path.parts:
            raise UserError(f"{file}: the path {str(path)!r} leads out of the folder.")
    return [(kind.rpartition(".")[2], folder / path) for kind, path in entries]


def _refusal(folder: Path, kind: str, place: Path, *, pooled: bool) -> UserError:
    known = ("Pooling", *HEADS)
    if kind not in known:
        return UserError(f"{folder / 'modules.json'}: unknown module {kind!r}, expected one of {', '.join(known)}.")
    side = "after" if pooled else "before"
    return UserError(
        f"{folder / 'modules.json'}: {place.name} ({kind}) stands {side} the pooling, where it cannot work."
    )


def _out_dim(heads: Any, dim: int) -> int:
    for head in heads:
        dim = head.dim if isinstance(head, Dense) else dim
    return dim
