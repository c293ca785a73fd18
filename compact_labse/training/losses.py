"""What a student is trained for: pure functions over vectors, each a mean over the batch.

Shapes: B batch, D student dimension, E teacher dimension. All vectors are unit-norm unless said otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from compact_labse.training.ranking import ranked_rows
from compact_labse.training.softmaxes import SAFE, Ranking, Similarity


def nearest_rotation(from_ND: Tensor, to_NE: Tensor) -> Tensor:
    """The orthonormal map `[E, D]` that brings vectors nearest to others (orthogonal Procrustes, Schönemann 1966)."""
    left_EK, _, right_KD = torch.linalg.svd(to_NE.float().T @ from_ND.float(), full_matrices=False)
    return left_EK @ right_KD


def cosine_regression(guess_BE: Tensor, target_BE: Tensor) -> Tensor:
    """Mean of 1 - cosine between guesses (of any length) and the teacher's vectors."""
    return (1 - F.cosine_similarity(guess_BE.float(), target_BE.float(), dim=-1)).mean()


def squared_regression(guess_BE: Tensor, target_BE: Tensor) -> Tensor:
    """Mean over the batch of the squared distance to the teacher's vectors (summed over dimensions)."""
    return (guess_BE.float() - target_BE.float()).square().sum(-1).mean()


def similarity_kl(student_BD: Tensor, wanted_BB: Tensor, temperature: float) -> Tensor:
    """KL from the teacher's to the student's distribution of each sentence's similarity to the others of the batch.

    `wanted_BB` is what `similarity_shares` makes of the teacher's vectors at the same temperature (LEALLA's logit
    distillation, on similarities). A batch of one has no others and costs zero.
    """
    if len(student_BD) < 2:
        return student_BD.sum() * 0.0
    if 1 / temperature <= SAFE:
        loss: Tensor = Similarity.apply(student_BD, wanted_BB, 1 / temperature)
        return loss
    logits_BB = _products(student_BD, student_BD) / temperature
    log_BB = _without_diagonal(logits_BB).log_softmax(-1)
    return F.kl_div(log_BB, _without_diagonal(wanted_BB), reduction="batchmean")


@torch.no_grad()
def similarity_shares(vectors_BE: Tensor, temperature: float) -> Tensor:
    """Rows of probabilities `[B, B]`: softmax over the others of the batch of cosine / temperature; zero diagonal."""
    logits_BB = _products(vectors_BE, vectors_BE) / temperature
    return logits_BB.fill_diagonal_(-torch.inf).softmax(-1) if len(vectors_BE) > 1 else logits_BB.zero_()


def translation_ranking(
    source_BD: Tensor, target_BD: Tensor, *, scale: Tensor | float, margin: float, same_BB: Tensor | None = None
) -> Tensor:
    """Bidirectional translation ranking with additive margin (LaBSE, equations 1 to 3), the mean of both directions.

    Each source must find its target among the batch's targets and the other way round, by `scale * (cosine - margin)`
    for the true pair and `scale * cosine` for the rest. `same_BB` is true where row and column mean the same although
    they are not one pair (equal texts): these are no negatives. Its diagonal is ignored.
    """
    off_BB = None if same_BB is None else _off_diagonal(same_BB)
    if not (isinstance(scale, Tensor) and scale.requires_grad) and float(scale) <= SAFE:
        loss: Tensor = Ranking.apply(source_BD, target_BD, float(scale), margin, off_BB)
        return loss
    rows_B = torch.arange(len(source_BD), device=source_BD.device)
    there_B, _ = ranked_rows(source_BD, target_BD, rows_B, off_BB, scale=scale, margin=margin)
    back_BB = None if off_BB is None else off_BB.T
    back_B, _ = ranked_rows(target_BD, source_BD, rows_B, back_BB, scale=scale, margin=margin)
    return (there_B + back_B).mean() / 2


def same_meaning(source_key_B: Tensor, target_key_B: Tensor) -> Tensor:
    """True where two pairs share their source or their target text, `[B, B]`, from one integer key per text."""
    return (source_key_B[:, None] == source_key_B[None, :]) | (target_key_B[:, None] == target_key_B[None, :])


def _products(left_BD: Tensor, right_BD: Tensor) -> Tensor:
    """Dot products in float32 results; under autocast the factors are bf16, the accumulation is not."""
    return (left_BD @ right_BD.T).float()


def _off_diagonal(mask_BB: Tensor) -> Tensor:
    return mask_BB.clone().fill_diagonal_(False)


def _without_diagonal(scores_BB: Tensor) -> Tensor:
    """`[B, B]` to `[B, B - 1]`: each row without its own entry."""
    size = scores_BB.shape[0]
    return scores_BB.flatten()[1:].view(size - 1, size + 1)[:, :-1].reshape(size, size - 1)
