"""The search for candidates: Optuna proposes, and is told bytes, milliseconds and the quality kept before training.

What cannot fit is told as broken constraints, which steers the next proposals and costs no training. The same seed and
answers give the same proposals, so that a run that was killed comes by the same way again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from compact_labse.compress.budget import Budget
from compact_labse.compress.candidates import Candidate, Space
from compact_labse.errors import require

T = TypeVar("T")
SIZE, LATENCY, QUALITY = "size", "latency", "quality"
UNSEEN = 1e6  # milliseconds of what was too large to be timed


class Search:
    """Proposes candidates of a space, each once."""

    def __init__(self, space: Space, budget: Budget, seed: int = 0) -> None:
        optuna = require("optuna", "compress")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.space, self.budget = space, budget
        sampler = optuna.samplers.TPESampler(seed=seed)
        self._study = optuna.create_study(directions=["minimize", "minimize", "maximize"], sampler=sampler)
        self._told: dict[Candidate, tuple[float, float, float]] = {}
        for start in space.starts():
            self._study.enqueue_trial(start.record())

    def propose(self, most: int) -> Iterator[tuple[Candidate, Callable[[float, float, float], None]]]:
        """Up to `most` proposals, repetitions left out, each with the function that takes bytes, ms and quality."""
        for _ in range(most):
            trial = self._study.ask()
            options = self.space.options
            one = Candidate(**{name: trial.suggest_categorical(name, list(found)) for name, found in options.items()})

            def tell(size: float, latency: float, quality: float, trial: Any = trial, one: Candidate = one) -> None:
                self._told[one] = (size, latency, quality)
                for name, beyond in zip((SIZE, LATENCY), self.budget.excess(size, latency), strict=True):
                    trial.set_constraint(name, beyond)
                self._study.tell(trial, [size, latency, quality])

            if one in self._told:
                tell(*self._told[one])
            else:
                yield one, tell


def front(rows: Sequence[T], figures: Callable[[T], tuple[float, float, float]]) -> list[T]:
    """The rows that no other beats: none is smaller, faster and better at once; smallest first.

    `figures` gives bytes, milliseconds and quality.
    """
    kept = [row for row in rows if not any(_beats(figures(other), figures(row)) for other in rows)]
    return sorted(kept, key=lambda row: figures(row)[:2])


def _beats(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    no_worse = one[0] <= other[0] and one[1] <= other[1] and one[2] >= other[2]
    return no_worse and one != other
