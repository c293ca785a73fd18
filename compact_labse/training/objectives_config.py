"""What a student learns. Needs no torch, so that a command line can be read without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from compact_labse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class ObjectivesConfig:
    """What the student learns, as a weighted sum; an objective of weight 0 is not computed.

    Args:
        regression: Weight of: both sides of a pair get the teacher's vector of the source side.
        regression_kind: "cosine" (1 - cosine) or "mse" (squared distance).
        similarity: Weight of: sentences are similar to the others of the batch as the teacher says (KL).
        similarity_temperature: Softmax temperature of those similarities.
        ranking: Weight of: each sentence finds its translation among the batch's, both ways, with a margin.
        scale: Factor of the cosines in the ranking; with `learn_scale` only where it starts.
        learn_scale: Let training change the scale.
        margin: What the true pair's cosine must be better by.
        targets: "cached" computes the teacher's vectors once, on disk; "live" in every step.
        max_targets: Only so many source sentences get a cached vector of the teacher (chosen by hash); the others only
            rank.
        teacher_bf16: Run the teacher in bfloat16: about three times as fast, cosine 0.9999.
    """

    regression: float = 1.0
    regression_kind: Literal["cosine", "mse"] = "cosine"
    similarity: float = 0.0
    similarity_temperature: float = 0.05
    ranking: float = 1.0
    scale: float = 20.0
    learn_scale: bool = False
    margin: float = 0.1
    targets: Literal["cached", "live"] = "cached"
    max_targets: int | None = None
    teacher_bf16: bool = True

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("regression", "similarity", "ranking")}
        if min(weights.values()) < 0 or not any(weights.values()):
            raise UserError(f"objectives need weights of at least 0 and one above 0, got {weights}")
        if self.scale <= 0 or self.similarity_temperature <= 0:
            raise UserError("objectives.scale and objectives.similarity_temperature must be positive")
        if self.regression_kind not in ("cosine", "mse"):
            raise UserError(f"objectives.regression_kind is {self.regression_kind!r}; known: cosine, mse")
        if self.targets not in ("cached", "live"):
            raise UserError(f"objectives.targets is {self.targets!r}; known: cached, live")
        if self.max_targets is not None and self.max_targets < 1:
            raise UserError(f"objectives.max_targets must be at least 1, or null for all; got {self.max_targets}")
        if self.targets == "live" and self.max_targets is not None:
            raise UserError("objectives.max_targets limits cached vectors, but objectives.targets is live")

    @property
    def needs_teacher(self) -> bool:
        """Whether any objective looks at the teacher's vectors."""
        return bool(self.regression or self.similarity)
