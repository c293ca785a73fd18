"""How weights are changed: learning rates over the steps. Needs no torch to be read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from compact_labse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights are changed.

    Args:
        lr: Highest learning rate of layers, projections and scales.
        table_lr: Highest learning rate of tables of token vectors.
        weight_decay: Decoupled weight decay of matrices that are not tables.
        warmup: Steps of linear rise, or the share of all steps if below 1.
        decay: "linear" or "cosine" from the end of the warm-up down to `final` x the highest rate; "polynomial", which
            counts from the first step (as TensorFlow's: the warm-up ends a little below the highest rate); or "none".
        power: Of the polynomial.
        final: Share of the highest learning rate at the last step.
        clip: Longest gradient (2-norm); longer ones are shortened. 0 leaves them.
        betas: Adam's memory of the gradient and of its square.
        eps: Added to the root of Adam's memory of squares.
    """

    lr: float = 5e-4
    table_lr: float = 5e-3
    weight_decay: float = 0.01
    warmup: float = 0.05
    decay: Literal["linear", "cosine", "polynomial", "none"] = "linear"
    power: float = 1.0
    final: float = 0.02
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.lr <= 0 or self.table_lr <= 0:
            raise UserError(f"learning rates must be positive, got lr {self.lr} and table_lr {self.table_lr}")
        if self.warmup < 0 or self.clip < 0 or self.weight_decay < 0:
            raise UserError("warmup, clip and weight_decay must not be negative")
        if self.decay not in ("linear", "cosine", "polynomial", "none"):
            raise UserError(f"optimizer.decay is {self.decay!r}; known: linear, cosine, polynomial, none")
        if self.eps <= 0 or self.power <= 0:
            raise UserError(f"optimizer.eps and optimizer.power must be positive, got {self.eps} and {self.power}")
        if not 0 <= self.final <= 1:
            raise UserError(f"optimizer.final is a share of the learning rate, between 0 and 1; got {self.final}")


def rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The learning rate of `step` (0-based, of `steps`) as a share of the highest."""
    warmup = config.warmup * steps if config.warmup < 1 else config.warmup
    if config.decay == "polynomial":
        risen = min(1.0, (step + 1) / (warmup + 1))
        left = 1 - min(1.0, max(step, warmup) / steps)
        return risen * (config.final + (1 - config.final) * left**config.power)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    left = 1 - min(1.0, (step - warmup) / max(1.0, steps - warmup))
    if config.decay == "linear":
        return config.final + (1 - config.final) * left
    if config.decay == "cosine":
        return config.final + (1 - config.final) * (1 - math.cos(math.pi * left)) / 2
    return 1.0
