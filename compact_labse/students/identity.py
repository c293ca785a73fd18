"""A transformer that starts as the static student it grows from: same directions, layers that pass everything through.

BERT's layers normalise after each sum, which would give every token the same length and so lose what a static student
knows: how much each token counts. So every row gets two more coordinates, +s and -s, that fill it up to one length
shared by all; rows have mean zero, so LayerNorm only scales; the last LayerNorm's weight is zero on the two, which
leaves the mean of the tokens' original vectors. Attention and feed-forward start with zero output projections.

Shapes: V vocabulary, D static dimension, W width of a LayerNorm, C = W - 3 content dimensions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from compact_labse.errors import UserError
from compact_labse.students.transformer import TransformerStudent

SLACK = 2  # coordinates, at the end
LONGEST_SHARE = 0.999  # of the rows keep their length; a few very long ones would leave the others little room


@torch.no_grad()
def start_as(student: TransformerStudent, table_VD: Tensor, silent_ids: list[int]) -> None:
    """Give `student` first weights with which its vectors point where the static student's with `table_VD` do.

    `silent_ids` are the special tokens that the static student never saw: they contribute nothing to the mean.
    """
    model = student.model
    table = model.get_input_embeddings().weight
    width = table.shape[1]
    content_VC = reduced_content(table_VD, width - SLACK - 1)
    content_VC[silent_ids] = 0.0
    table.copy_(filled_up(content_VC, width))
    for name in ("position_embeddings", "token_type_embeddings"):
        getattr(model.embeddings, name).weight.zero_()
    if hasattr(model, "embeddings_project"):
        _widen(model.embeddings_project, width, student.dim)
    for layer in model.encoder.layer:
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
    model.encoder.layer[-1].output.LayerNorm.weight[-SLACK:] = 0.0


def reduced_content(table_VD: Tensor, most: int) -> Tensor:
    """The table as it is if it fits `most` columns, else on its `most` strongest directions (uncentred PCA)."""
    if most < 1:
        raise UserError(f"a transformer that starts from a static student must be wider than {SLACK + 1}")
    table_VD = table_VD.float()
    if table_VD.shape[1] <= most:
        return nn.functional.pad(table_VD, (0, most - table_VD.shape[1]))
    _, directions_DD = torch.linalg.eigh((table_VD.T @ table_VD).double())
    return table_VD @ directions_DD.flip(1)[:, :most].float()


def filled_up(content_VC: Tensor, width: int) -> Tensor:
    """Rows `[V, W]` of length 1 and mean 0 whose content is that of `content_VC` up to one common factor."""
    lengths_V = content_VC.norm(dim=1)
    longest = lengths_V.quantile(LONGEST_SHARE) if len(lengths_V) < 1 << 24 else lengths_V.max()
    content_VC = content_VC / torch.maximum(lengths_V, longest)[:, None]
    slack_V = (1 - content_VC.square().sum(1)).clamp(min=0).sqrt() / math.sqrt(2)
    spread = content_VC @ zero_mean_basis(width - SLACK)
    return torch.cat([spread, slack_V[:, None], -slack_V[:, None]], dim=1)


def zero_mean_basis(size: int) -> Tensor:
    """An orthonormal basis `[size - 1, size]` of the vectors whose coordinates sum to zero (Helmert's)."""
    k = torch.arange(1, size, dtype=torch.float64)
    lower = torch.tril(torch.ones(size - 1, size, dtype=torch.float64))
    lower[torch.arange(size - 1), torch.arange(1, size)] = -k
    return (lower / (k * (k + 1)).sqrt()[:, None]).float()


def _widen(project: nn.Linear, narrow: int, wide: int) -> None:
    """Set the projection of a factorised table so that content stays content and slack stays slack."""
    if wide < narrow:
        raise UserError(f"student.dim ({wide}) must be at least student.embedding ({narrow}) to start from a table")
    content = narrow - SLACK - 1
    into = zero_mean_basis(wide - SLACK)[:content].T @ zero_mean_basis(narrow - SLACK)
    slack = torch.tensor([[0.5, -0.5], [-0.5, 0.5]])
    project.weight.copy_(torch.block_diag(into, slack) * math.sqrt(wide / narrow))
    project.bias.zero_()
