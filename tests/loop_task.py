"""A task for the training loop, and a program that runs it in a process of its own, which may be killed.

python -m tests.loop_task FOLDER [--kill-at N | --interrupt-at N]
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compact_labse.training.loop import LoopConfig, train
from compact_labse.training.schedule import OptimizerConfig


class Bag(nn.Module):
    """A table with sparse gradients, dropout and a layer: everything whose state a checkpoint must hold."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.head = nn.Parameter(torch.randn(50, 6)), nn.Linear(6, 2)

    def forward(self, ids_BT: Tensor) -> Tensor:
        return self.head(F.dropout(F.embedding(ids_BT, self.table, sparse=True).mean(1), 0.2, self.training))


class BagTask:
    """Learn whether small ids outnumber large ones; may signal its own process when a certain batch is asked for."""

    tables = ("table",)

    def __init__(self, signals: dict[int, int] | None = None, scores: list[float] | None = None) -> None:
        self.module, self.signals, self.asked, self.scores = Bag(), signals or {}, [], scores
        self.evaluated = 0

    def batch(self, number: int) -> tuple[Tensor, Tensor]:
        if number in self.signals:
            os.kill(os.getpid(), self.signals[number])
        self.asked.append(number)
        ids_BT = torch.randint(0, 50, (16, 5), generator=torch.Generator().manual_seed(number))
        return ids_BT, ((ids_BT < 25).sum(1) > 2).long()

    def losses(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = F.cross_entropy(self.module(batch[0]).float(), batch[1])
        return loss, {"choice": loss}

    def sizes(self, batch: tuple[Tensor, Tensor]) -> dict[str, int]:
        return {"texts": len(batch[1])}

    def evaluate(self) -> dict[str, float]:
        assert not self.module.training
        self.evaluated += 1
        if self.scores is not None:
            return {"score": self.scores[self.evaluated - 1]}
        ids, right = BagTask().batch(10_000)
        return {"score": float((self.module(ids).argmax(1) == right).float().mean())}


def config(**changes) -> LoopConfig:
    """Sixty steps of two batches, a checkpoint every seven, an evaluation every ten."""
    optimizer = OptimizerConfig(lr=1e-2, table_lr=3e-2)
    settings = {
        "steps": 60,
        "accumulation": 2,
        "bf16": False,
        "device": "cpu",
        "eval_every": 10,
        "checkpoint_every": 7,
        "log_every": 5,
        "tensorboard": False,
        "optimizer": optimizer,
    }
    return LoopConfig(**(settings | changes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--interrupt-at", type=int)
    args = parser.parse_args()
    torch.set_num_threads(1)
    wanted = {args.kill_at: signal.SIGKILL, args.interrupt_at: signal.SIGINT}
    task = BagTask({number: which for number, which in wanted.items() if number is not None})
    train(task, config(), args.folder)
    print(task.asked[0])
