"""A transformer with the head that guesses masked tokens, from a shape or a folder, and back into a folder.

Shapes: R texts that run together, T tokens, D hidden size, E width of the table, V vocabulary, M masked tokens.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, ElectraConfig, ElectraForMaskedLM

from compact_labse.bodies import _quiet, read_transformer
from compact_labse.errors import UserError
from compact_labse.students.config import StudentConfig
from compact_labse.students.saving import no_bar
from compact_labse.students.transformer import shape_of

TOKENIZER_FILES = (
    "tokenizer*.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
)
LOGITS = 1 << 27  # of one piece of the loss: 512 MiB in float32


def _after(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(*modules)


# What stands between the last hidden state and the table, by the family of the model; then its bias per piece.
HEADS: dict[str, Callable[[Any], tuple[nn.Module, nn.Parameter]]] = {
    "bert": lambda m: (m.cls.predictions.transform, m.cls.predictions.bias),
    "electra": lambda m: (m.generator_predictions, m.generator_lm_head.bias),
    "distilbert": lambda m: (_after(m.vocab_transform, nn.GELU(), m.vocab_layer_norm), m.vocab_projector.bias),
    **dict.fromkeys(
        ("roberta", "xlm-roberta", "camembert", "mpnet"),
        lambda m: (_after(m.lm_head.dense, nn.GELU(), m.lm_head.layer_norm), m.lm_head.bias),
    ),
}


class MaskedModel(nn.Module):
    """A transformers model for masked language modelling whose logits exist at masked tokens alone.

    The table is the input's own (tied), and stands once in the state dict.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        kind = model.config.model_type
        if kind not in HEADS:
            raise UserError(f"masked language modelling knows {', '.join(HEADS)}, not {kind!r}")
        self.body: Any = model.base_model
        self.transform, self.bias = HEADS[kind](model)
        if model.get_output_embeddings().weight is not model.get_input_embeddings().weight:
            raise UserError("the model's output table is not its input table; only tied tables can be pretrained here")
        self._whole = (model,)  # in a tuple, so that its parameters are not found twice
        self.takes_types = getattr(model.config, "type_vocab_size", 0) > 1 and kind != "mpnet"
        self.pad_id: int = model.config.pad_token_id or 0

    @property
    def table(self) -> nn.Parameter:
        """The table of token vectors `[V, E]`, of input and output."""
        return self.body.get_input_embeddings().weight

    @property
    def config(self) -> Any:
        """The configuration of transformers."""
        return self.body.config

    def hidden(self, ids_RT: Tensor, mask_RT: Tensor, types_RT: Tensor) -> Tensor:
        """The last hidden states `[R, T, D]`."""
        types = {"token_type_ids": types_RT} if self.takes_types else {}
        return self.body(input_ids=ids_RT, attention_mask=mask_RT, **types).last_hidden_state

    def losses(self, hidden_MD: Tensor, labels_M: Tensor) -> Tensor:
        """The cross-entropy of each masked token `[M]`, from logits that exist for a part of them at a time."""
        ready_ME = self.transform(hidden_MD)
        at_once = max(1, LOGITS // len(self.table))
        if len(labels_M) <= at_once:
            return self._losses(ready_ME, labels_M)
        parts = zip(ready_ME.split(at_once), labels_M.split(at_once), strict=True)
        return torch.cat([checkpoint(self._losses, *part, use_reentrant=False) for part in parts])

    def guesses(self, hidden_MD: Tensor) -> Tensor:
        """The most probable piece of each masked token, `[M]`."""
        ready_ME, at_once = self.transform(hidden_MD), max(1, LOGITS // len(self.table))
        found = [F.linear(part, self.table, self.bias).argmax(-1) for part in ready_ME.split(at_once)]
        return torch.cat(found) if found else torch.empty(0, dtype=torch.long)

    def _losses(self, ready_ME: Tensor, labels_M: Tensor) -> Tensor:
        logits_MV = F.linear(ready_ME, self.table, self.bias)
        return F.cross_entropy(logits_MV.float(), labels_M, reduction="none")

    def save(self, folder: Path) -> None:
        """`config.json` and `model.safetensors` as `AutoModelForMaskedLM` reads them, head included, table once."""
        with no_bar():
            self._whole[0].save_pretrained(folder)


def copy_tokenizer(source: Path, folder: Path) -> None:
    """The tokenizer of a model's folder, as it stands there, into another."""
    for pattern in TOKENIZER_FILES:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def new_masked_model(config: StudentConfig, layers: int, vocab_size: int, pad_id: int, seed: int) -> MaskedModel:
    """A model of that shape but with so many layers, with random weights: the same for the same seed."""
    torch.manual_seed(seed)
    shape = shape_of(config, vocab_size, pad_id) | {"num_hidden_layers": layers}
    if config.kind == "electra":
        return MaskedModel(ElectraForMaskedLM(ElectraConfig(embedding_size=config.embedding, **shape)))
    return MaskedModel(BertForMaskedLM(BertConfig(**shape)))


def open_masked_model(folder: Path, seed: int) -> MaskedModel:
    """The model of a folder with its head, or with a random one where the folder has none.

    UserError if the folder is damaged, incomplete, or of a family without such a head.
    """
    kind = read_transformer(folder).transformer.config.model_type  # checks every weight of the body
    if kind not in HEADS:
        raise UserError(f"{folder} is a {kind!r} model; masked language modelling knows {', '.join(HEADS)}")
    torch.manual_seed(seed)
    with _quiet():
        model = AutoModelForMaskedLM.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    return MaskedModel(model)
