"""What the training loop is told: how long to train and what to keep. Needs no torch to be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from compact_labse.errors import UserError
from compact_labse.training.schedule import OptimizerConfig

# Settings that change when a run stops or what it prints, not what it computes: a resumed run may change them.
FREE = (
    "max_minutes", "checkpoint_minutes", "checkpoint_every", "log_every", "say_every_s", "tensorboard", "wandb",
    "explosion",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long to train, and what to keep on the way.

    Args:
        steps: Changes of the weights. If None, as many as fit in `max_minutes`, by a short trial on this machine.
        max_minutes: Stop after this long (also across interruptions). The schedule goes by steps.
        accumulation: Batches per step.
        bf16: Compute in bfloat16 where torch's autocast does.
        device: "cpu", "cuda", or "auto".
        seed: Decides the order of the data, the first weights and dropout.
        eval_every: Steps between evaluations on held-out pairs. 0: only at the end.
        patience: Stop after so many evaluations without a better score. 0: never.
        checkpoint_minutes: Minutes between checkpoints.
        checkpoint_every: Steps between checkpoints, besides those by time. 0: none.
        log_every: Steps between lines of the JSONL and TensorBoard logs.
        say_every_s: Seconds between lines on stderr where it is no terminal.
        tensorboard: Write TensorBoard events.
        wandb: Project of Weights & Biases to log to as well (the extra `wandb`); empty: none.
        explosion: Stop when the loss is so many times the largest of the first 20 steps (or 0.1). 0: when not finite.
    """

    steps: int | None = 10_000
    max_minutes: float | None = None
    accumulation: int = 1
    bf16: bool = True
    device: str = "auto"
    seed: int = 0
    eval_every: int = 500
    patience: int = 0
    checkpoint_minutes: float = 5.0
    checkpoint_every: int = 0
    log_every: int = 20
    say_every_s: float = 10.0
    tensorboard: bool = True
    wandb: str = ""
    explosion: float = 10.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        if self.steps is None and self.max_minutes is None:
            raise UserError("how long to train is missing: give loop.steps or loop.max_minutes")
        if self.steps is not None and self.steps < 1:
            raise UserError(f"loop.steps must be at least 1, got {self.steps}")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise UserError(f"loop.max_minutes must be positive, got {self.max_minutes}")
        if self.accumulation < 1 or self.log_every < 1:
            raise UserError("loop.accumulation and loop.log_every must be at least 1")
        if min(self.eval_every, self.patience, self.checkpoint_every, self.checkpoint_minutes, self.explosion) < 0:
            raise UserError(
                "loop.eval_every, patience, checkpoint_every, checkpoint_minutes and explosion must not be negative"
            )

    def torch_device(self) -> Any:
        """The `torch.device` that `device` means here; UserError when it is not there."""
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"loop.device is {self.device!r}, which is not usable here; try cpu") from error
        return torch.device(self.device)
