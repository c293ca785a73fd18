"""What a student is trained for: pure functions over vectors, each a mean over the batch.

Shapes: B batch, D student dimension, E teacher dimension. All vectors are unit-norm unless said otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_regression(guess_BE: Tensor, target_BE: Tensor) -> Tensor:
    """Mean of 1 - cosine between guesses (of any length) and the teacher's vectors."""
    return (1 - F.cosine_similarity(guess_BE.float(), target_BE.float(), dim=-1)).mean()


def squared_regression(guess_BE: Tensor, target_BE: Tensor) -> Tensor:
    """Mean over the batch of the squared distance to the teacher's vectors (summed over dimensions)."""
    return (guess_BE.float() - target_BE.float()).square().sum(-1).mean()


def similarity_kl(student_BD: Tensor, target_BE: Tensor, temperature: float) -> Tensor:
    """KL from the teacher's to the student's distribution of each sentence's similarity to the others of the batch.

    Rows of cosines, without the diagonal, softmaxed at `temperature` (LEALLA's logit distillation, on similarities).
    A batch of one has no others and costs zero.
    """
    others = student_BD.shape[0] - 1
    if others < 1:
        return student_BD.sum() * 0.0
    student_BB = _without_diagonal(_products(student_BD, student_BD)) / temperature
    teacher_BB = _without_diagonal(_products(target_BE, target_BE)) / temperature
    return F.kl_div(student_BB.log_softmax(-1), teacher_BB.log_softmax(-1), reduction="batchmean", log_target=True)


def translation_ranking(
    source_BD: Tensor, target_BD: Tensor, *, scale: Tensor | float, margin: float, same_BB: Tensor | None = None
) -> Tensor:
    """Bidirectional translation ranking with additive margin (LaBSE, equations 1 to 3), the mean of both directions.

    Each source must find its target among the batch's targets and the other way round, by `scale * (cosine - margin)`
    for the true pair and `scale * cosine` for the rest. `same_BB` is true where row and column mean the same although
    they are not one pair (equal texts): these are no negatives. Its diagonal is ignored.
    """
    logits_BB = _products(source_BD, target_BD)
    rows = torch.arange(logits_BB.shape[0], device=logits_BB.device)
    true_B = logits_BB.diagonal() - margin
    logits_BB = logits_BB.masked_fill(_off_diagonal(same_BB), -torch.inf) if same_BB is not None else logits_BB
    logits_BB = logits_BB.index_put((rows, rows), true_B) * scale
    there_B = logits_BB.logsumexp(1)
    back_B = logits_BB.logsumexp(0)
    return ((there_B + back_B) / 2 - true_B * scale).mean()


def same_meaning(source_key_B: Tensor, target_key_B: Tensor) -> Tensor:
    """True where two pairs share their source or their target text, `[B, B]`, from one integer key per text."""
    return (source_key_B[:, None] == source_key_B[None, :]) | (target_key_B[:, None] == target_key_B[None, :])


def _products(left_BD: Tensor, right_BD: Tensor) -> Tensor:
    """Dot products in float32 results; under autocast the factors are bf16, the accumulation is not."""
    return (left_BD @ right_BD.T).float()


def _off_diagonal(mask_BB: Tensor) -> Tensor:
    return mask_BB & ~torch.eye(mask_BB.shape[0], dtype=torch.bool, device=mask_BB.device)


def _without_diagonal(scores_BB: Tensor) -> Tensor:
    """`[B, B]` to `[B, B - 1]`: each row without its own entry."""
    size = scores_BB.shape[0]
    return scores_BB.flatten()[1:].view(size - 1, size + 1)[:, :-1].reshape(size, size - 1)
