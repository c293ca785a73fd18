"""What turns token ids into token vectors: a transformer, or a table alone. Read from a folder with clear errors.

Shapes: B batch, T tokens, D dimension, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from compact_labse.errors import UserError
from compact_labse.settings import offset_positions, read_json, text_config
from compact_labse.weights import WEIGHTS, complain_missing, read_weights, weight_files, wrong_shape

ENCODER_HALVES = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel", "umt5": "UMT5EncoderModel"}


class TransformerBody(nn.Module):
    """A transformers model: ids and mask `[B, T]` to its last hidden states `[B, T, D]`."""

    def __init__(self, transformer: PreTrainedModel) -> None:
        super().__init__()
        self.transformer = transformer
        self.takes_types = "token_type_ids" in inspect.signature(transformer.forward).parameters
        self.pad_id: int | None = transformer.config.pad_token_id
        self.offset_positions = offset_positions(transformer.config.to_dict())

    @property
    def dim(self) -> int:
        """The dimension of a token's vector."""
        return int(self.transformer.config.hidden_size)

    @property
    def rows(self) -> int:
        """V, the rows of the embedding table."""
        table = self.transformer.get_input_embeddings().weight
        assert isinstance(table, Tensor)
        return table.shape[0]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """Token vectors; those of padding mean nothing. `token_type_ids` is ignored by models without types."""
        if self.offset_positions and self.pad_id is not None:
            # these families count positions over ids unlike their own padding id, whatever the caller padded with
            input_ids = input_ids.masked_fill(attention_mask == 0, self.pad_id)
        types = {"token_type_ids": token_type_ids} if self.takes_types and token_type_ids is not None else {}
        return self.transformer(input_ids=input_ids, attention_mask=attention_mask, **types)[0]


class StaticBody(nn.Module):
    """A table alone, one vector per token id: the bag of tokens."""

    pad_id: int | None = None

    def __init__(self, table_VD: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table_VD, freeze=False)

    @property
    def dim(self) -> int:
        """The dimension of a token's vector."""
        return self.embedding.embedding_dim

    @property
    def rows(self) -> int:
        """V, the rows of the table."""
        return self.embedding.num_embeddings

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """The table's rows for the ids, `[B, T, D]`."""
        return self.embedding(input_ids)


def read_static(folder: Path) -> StaticBody:
    """The table of a StaticEmbedding folder, or of a model2vec one with its mapping and weights folded in."""
    found = read_weights(folder)
    table_VD = found.get("embedding.weight", found.get("embeddings"))
    if table_VD is None:
        raise UserError(
            f"{folder / WEIGHTS} lacks the tensor 'embedding.weight'; it holds {', '.join(sorted(found)) or 'none'}."
        )
    if table_VD.ndim != 2:
        raise UserError(f"{folder / WEIGHTS}: the table must be [vocabulary, dimension], got {list(table_VD.shape)}.")
    if "embeddings" in found:
        if "mapping" in found:
            table_VD = table_VD[found["mapping"].long()]
        if "weights" in found:
            table_VD = table_VD.float() * found["weights"].float()[:, None]
    return StaticBody(table_VD.float())


def read_transformer(folder: Path) -> TransformerBody:
    """The transformer of a folder in float32, without its pooler, in evaluation mode.

    UserError if the architecture is unknown or brings its own code, if sentence-transformers would run it in a way that
    is not supported, or if a weight is missing, damaged or of another shape than the config asks for.
    """
    config = read_json(folder / "config.json", required=True)
    _refuse_unsupported(folder, config)
    weight_files(folder)
    transformer, info = _from_pretrained(folder, config)
    file = folder / WEIGHTS
    for name, got, expected in sorted(info["mismatched_keys"]):
        raise wrong_shape(file, name, got, expected)
    complain_missing(file, [name for name in info["missing_keys"] if not name.startswith("pooler.")])
    if getattr(transformer, "pooler", None) is not None:
        # no sentence vector uses it, and it would be exported and trained for nothing
        setattr(transformer, "pooler", None)  # noqa: B010
    return TransformerBody(transformer.eval())


def _refuse_unsupported(folder: Path, config: dict[str, Any]) -> None:
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder} is an adapter on top of another model: merge it into its base model first.")
    if "model_type" not in config:
        raise UserError(f"{folder / 'config.json'} names no model_type, so that its architecture is unknown.")
    settings = text_config(folder)
    task = settings.get("transformer_task", "feature-extraction")
    modality = settings.get("modality_config") or {"text": {"method_output_name": "last_hidden_state"}}
    output = modality.get("text", {}).get("method_output_name")
    if task != "feature-extraction" or output != "last_hidden_state" or "message" in modality:
        raise UserError(
            f"{folder}: sentence-transformers runs this model for {task!r} with inputs {sorted(modality)}, output "
            f"{output!r}; supported are 'feature-extraction' of text, 'last_hidden_state'."
        )
    if settings.get("processing_kwargs"):
        raise UserError(f"{folder}: the processing_kwargs {settings['processing_kwargs']!r} are not supported.")


def _from_pretrained(folder: Path, config: dict[str, Any]) -> tuple[PreTrainedModel, dict[str, Any]]:
    kind = config["model_type"]
    loader = getattr(transformers, ENCODER_HALVES[kind]) if kind in ENCODER_HALVES else AutoModel
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            return loader.from_pretrained(
                str(folder),
                config=AutoConfig.from_pretrained(str(folder), **local),
                dtype=torch.float32,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported by the caller, with the file's name
                **local,
            )
    except Exception as error:  # an architecture or a config may fail in as many ways as there are architectures
        if "auto_map" in config:
            raise UserError(
                f"{folder} needs code of its own ({kind!r}), which is never run here; use another model."
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{folder / 'config.json'}: the architecture {kind!r} cannot be built: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bar and its table of unused weights: what matters of it becomes an error."""
    level, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()
