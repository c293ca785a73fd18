"""A student that is a whole model folder: pruned, trimmed or trained before, of any architecture, trained further.

Shapes: K tokens of a batch, B texts, R texts that run together, T tokens, D dimension.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from compact_labse.bodies import TransformerBody
from compact_labse.errors import UserError
from compact_labse.sentence_model import read_modules
from compact_labse.students.config import StudentConfig
from compact_labse.students.ragged import lengths_of, padded
from compact_labse.students.transformer import TOKEN_BUDGET, TransformerStudent
from compact_labse.tokens import batches


class FolderStudent(TransformerStudent):
    """The model of a folder with its own pooling and heads."""

    def __init__(self, config: StudentConfig, vocab_size: int) -> None:
        nn.Module.__init__(self)
        self.folder = Path(config.start)
        self.whole, _ = read_modules(self.folder)
        body = self.whole.body
        if not isinstance(body, TransformerBody):
            raise UserError(f"student.start: {self.folder} is a bag of tokens: start it with student.kind static")
        if body.rows < vocab_size:
            raise UserError(
                f"student.start: the table in {self.folder} has {body.rows} rows, the vocabulary {vocab_size} pieces"
            )
        self.config, self.vocab_size, self.dim = config, vocab_size, self.whole.dim
        self.pad_id = body.pad_id or 0

    def table_parameters(self) -> list[nn.Parameter]:
        """The parameters that get the learning rate of tables."""
        return [self.transformer.get_input_embeddings().weight]

    @property
    def transformer(self) -> PreTrainedModel:
        """What computes token vectors."""
        body = self.whole.body
        assert isinstance(body, TransformerBody)
        return body.transformer

    def train(self, mode: bool = True) -> FolderStudent:
        """Without dropout: a model that is mended should not be disturbed."""
        return super().train(False)

    def forward(self, ids_K: Tensor, offsets_B1: Tensor) -> Tensor:
        """Unit vectors `[B, D]` of ragged texts; those of similar length run together.

        Sentences without translation stand on both sides of their pairs: such a batch is computed once.
        """
        texts, half = (len(offsets_B1) - 1) // 2, len(ids_K) // 2
        one, other = offsets_B1[: texts + 1], offsets_B1[texts:] - half
        if len(one) == len(other) > 1 and torch.equal(one, other) and torch.equal(ids_K[:half], ids_K[half:]):
            vectors_BD = self._all(ids_K[:half], one)
            return torch.cat([vectors_BD, vectors_BD])
        return self._all(ids_K, offsets_B1)

    def _all(self, ids_K: Tensor, offsets_B1: Tensor) -> Tensor:
        groups = batches(lengths_of(offsets_B1).tolist(), TOKEN_BUDGET, max_batch=TOKEN_BUDGET)
        rows = [torch.from_numpy(group).to(ids_K.device) for group in groups]
        found = [self.pooled(*padded(ids_K, offsets_B1, rows_R, self.pad_id)) for rows_R in rows]
        return torch.cat(found)[torch.cat(rows).argsort()]

    def pooled(self, ids_RT: Tensor, mask_RT: Tensor) -> Tensor:
        """The model's own vectors, `[R, D]`."""
        return self.whole(ids_RT, mask_RT)[1]

    def save(self, folder: Path) -> None:
        """Write the model into `folder`: the files that it came from, with the weights as they are now."""
        from compact_labse.students.retrained import save_like  # which saves students, too

        save_like(self.whole.state_dict(), self.folder, folder)
