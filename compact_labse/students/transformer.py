"""BERT- and ELECTRA-shaped students: stock `transformers` models with mean pooling.

Shapes: K tokens of a batch, B texts, R texts that run together, T tokens, E width of the table, D dimension.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ElectraConfig, ElectraModel, PretrainedConfig, PreTrainedModel

from compact_labse.students.config import StudentConfig
from compact_labse.students.ragged import lengths_of, padded
from compact_labse.tokens import batches

TOKEN_BUDGET = 8192


class TransformerStudent(nn.Module):
    """A transformer; forward gives the unit-norm mean over each text's tokens, special tokens included.

    Texts of similar length run together, so that a batch of mixed lengths wastes little on padding.
    """

    def __init__(self, config: StudentConfig, vocab_size: int, pad_id: int) -> None:
        super().__init__()
        self.config, self.vocab_size, self.dim, self.pad_id = config, vocab_size, config.dim, pad_id
        self.model: PreTrainedModel = _model(config, vocab_size, pad_id)

    @property
    def transformer(self) -> PreTrainedModel:
        """What computes token vectors."""
        return self.model

    def augment(self, ids_K: np.ndarray, offsets_B1: np.ndarray, random: np.random.Generator) -> tuple:
        """Called on each training batch before forward; gives the ids and offsets to train on instead."""
        return ids_K, offsets_B1

    def table_parameters(self) -> list[nn.Parameter]:
        """The parameters that get the learning rate of tables."""
        return [self.model.get_input_embeddings().weight]

    def forward(self, ids_K: Tensor, offsets_B1: Tensor) -> Tensor:
        """Unit vectors `[B, D]`; every text has its special tokens, so none is empty."""
        groups = batches(lengths_of(offsets_B1).tolist(), TOKEN_BUDGET, max_batch=TOKEN_BUDGET)
        rows = [torch.from_numpy(group).to(ids_K.device) for group in groups]
        # Looked up for all groups at once: each look-up has a gradient as large as the table.
        words_KE = self.model.get_input_embeddings()(ids_K)
        place_K = torch.arange(len(ids_K), device=ids_K.device)
        pooled = []
        for rows_R in rows:
            place_RT, mask_RT = padded(place_K, offsets_B1, rows_R, 0)
            words_RTE = words_KE.index_select(0, place_RT.flatten()).unflatten(0, place_RT.shape)
            pooled.append(self._mean(words_RTE, mask_RT))
        return F.normalize(torch.cat(pooled)[torch.cat(rows).argsort()], dim=-1)

    def pooled(self, ids_RT: Tensor, mask_RT: Tensor) -> Tensor:
        """Mean of the last layer over the tokens that the mask names, `[R, D]`, not normalised."""
        return self._mean(self.model.get_input_embeddings()(ids_RT), mask_RT)

    def _mean(self, words_RTE: Tensor, mask_RT: Tensor) -> Tensor:
        hidden_RTD = self.model(inputs_embeds=words_RTE, attention_mask=mask_RT).last_hidden_state.float()
        return (hidden_RTD * mask_RT[:, :, None]).sum(1) / mask_RT.sum(1, keepdim=True).clamp(min=1)


def shape_of(config: StudentConfig, vocab_size: int, pad_id: int) -> dict[str, Any]:
    """The shape as the settings of `BertConfig` and `ElectraConfig`."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": config.dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "intermediate_size": config.ffn_width,
        "max_position_embeddings": config.max_tokens,
        "hidden_dropout_prob": config.dropout,
        "attention_probs_dropout_prob": config.dropout,
        "pad_token_id": pad_id,
    }


def _model(config: StudentConfig, vocab_size: int, pad_id: int) -> PreTrainedModel:
    shape = shape_of(config, vocab_size, pad_id)
    if config.kind == "electra":
        return ElectraModel(_plain(ElectraConfig(embedding_size=config.embedding, **shape)))
    return BertModel(_plain(BertConfig(**shape)), add_pooling_layer=False)


def _plain(config: PretrainedConfig) -> PretrainedConfig:
    config._attn_implementation = "sdpa"
    return config
