"""The two objectives that compare all with all, with hand-written gradients: half the time of autograd's on a CPU.

Cosines are at most 1, so `exp(scale * (cosine - 1))` can neither overflow nor, for scales up to `SAFE`, vanish: one
exponential serves rows and columns, forward and backward.

Shapes: B batch, D dimension.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SAFE = 40.0  # exp(-2 * 40) is a normal float32


class Ranking(torch.autograd.Function):
    """Bidirectional softmax cross-entropy of `scale * (cosine - margin on the diagonal)`; see `translation_ranking`."""

    @staticmethod
    def forward(
        ctx: Any, source_BD: Tensor, target_BD: Tensor, scale: float, margin: float, same_BB: Tensor | None
    ) -> Tensor:
        """The loss; `same_BB` has a false diagonal."""
        source_BD, target_BD = _low(source_BD), _low(target_BD)
        score_BB = (source_BD @ target_BD.T).float()
        score_BB.diagonal().sub_(margin)
        true_B = score_BB.diagonal().clone()
        share_BB = score_BB.sub_(1.0).mul_(scale).exp_()
        if same_BB is not None:
            share_BB.masked_fill_(same_BB, 0.0)
        there_B, back_B = share_BB.sum(1), share_BB.sum(0)
        loss = ((there_B.log() + back_B.log()) / 2 + scale * (1 - true_B)).mean()
        gradient_BB = share_BB.mul_(1 / there_B[:, None] + 1 / back_B[None, :])
        gradient_BB.diagonal().sub_(2.0)
        ctx.save_for_backward(source_BD, target_BD, _low(gradient_BB.mul_(scale / (2 * len(true_B)))))
        return loss

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> Any:
        """Gradients of the two sides."""
        source_BD, target_BD, gradient_BB = ctx.saved_tensors
        source = (gradient_BB @ target_BD).float() * of_loss[0]
        target = (gradient_BB.T @ source_BD).float() * of_loss[0]
        return source, target, None, None, None


class Similarity(torch.autograd.Function):
    """KL from given rows of probabilities to the softmax of `scale * cosine` of each vector to the others."""

    @staticmethod
    def forward(ctx: Any, student_BD: Tensor, wanted_BB: Tensor, scale: float) -> Tensor:
        """The loss; `wanted_BB` is zero on the diagonal."""
        student_BD = _low(student_BD)
        score_BB = (student_BD @ student_BD.T).float().sub_(1.0).mul_(scale)
        expected = (wanted_BB * score_BB).sum()
        share_BB = score_BB.exp_()
        share_BB.fill_diagonal_(0.0)
        total_B = share_BB.sum(1)
        negative_entropy = torch.special.xlogy(wanted_BB, wanted_BB).sum()
        loss = (negative_entropy - expected + total_B.log().sum()) / len(total_B)
        gradient_BB = share_BB.div_(total_B[:, None]).sub_(wanted_BB).mul_(scale / len(total_B))
        ctx.save_for_backward(student_BD, _low(gradient_BB + gradient_BB.T))
        return loss

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> Any:
        """The gradient of the student's vectors; the teacher's have none."""
        student_BD, gradient_BB = ctx.saved_tensors
        return (gradient_BB @ student_BD).float() * of_loss[0], None, None


def _low(tensor: Tensor) -> Tensor:
    """Backward runs outside autocast, so what it multiplies is brought to autocast's precision here."""
    kind = tensor.device.type
    return tensor.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else tensor
