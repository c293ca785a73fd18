"""Distillation as a task of the training loop: batches of pairs, objectives, held-out retrieval.

Shapes: B pairs of a batch, K tokens of a batch (both sides), D student dimension, E teacher dimension.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from compact_labse.corpus.sampling import shares_within
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.pairs import Pairs
from compact_labse.shards import Ragged, joined
from compact_labse.students import StaticStudent, TransformerStudent
from compact_labse.training import losses
from compact_labse.training.heldout import Side, retrieval
from compact_labse.training.loop_context import on_device
from compact_labse.training.objectives_config import ObjectivesConfig
from compact_labse.training.sampler import Sampler, grouped

EVALUATION_TEXTS = 2048
ROTATION_TEXTS = 2048  # that decide how a projection starts


class Targets(Protocol):
    """Teacher vectors of source texts by their number."""

    dim: int

    def vectors(self, unique_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`[B, E]`, and a mask `[B]` of those that exist."""


class Batch(NamedTuple):
    """Both sides of B pairs, sources first: ids `[K]`, starts `[2B + 1]`; text keys `[B]`; targets `[B, E]`."""

    ids_K: Tensor
    offsets: Tensor
    source_key_B: Tensor
    target_key_B: Tensor
    target_BE: Tensor | None
    found_B: Tensor | None


class Objectives(nn.Module):
    """A student with what is needed to train it and not saved with it: projection to the teacher's width, scale."""

    def __init__(
        self, student: StaticStudent | TransformerStudent, config: ObjectivesConfig, teacher_dim: int | None
    ) -> None:
        super().__init__()
        self.student, self.config = student, config
        self.projection: nn.Module = nn.Identity()
        if config.regression and teacher_dim not in (None, student.dim):
            self.projection = nn.Linear(student.dim, int(teacher_dim or 0), bias=False)
            nn.init.orthogonal_(self.projection.weight)
        self.log_scale = nn.Parameter(torch.tensor(config.scale).log(), requires_grad=config.learn_scale)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and each objective by name before weighting."""
        vectors_2BD = self.student(batch.ids_K, batch.offsets)
        source_BD, target_BD = vectors_2BD.chunk(2)
        named = {}
        if self.config.ranking:
            named["ranking"] = losses.translation_ranking(
                source_BD,
                target_BD,
                scale=self.log_scale.exp(),
                margin=self.config.margin,
                same_BB=losses.same_meaning(batch.source_key_B, batch.target_key_B),
            )
        if self.config.needs_teacher:
            named |= self._from_teacher(source_BD, target_BD, batch)
        weighted = [getattr(self.config, name) * value for name, value in named.items()]
        return torch.stack(weighted).sum(), named

    def _from_teacher(self, source_BD: Tensor, target_BD: Tensor, batch: Batch) -> dict[str, Tensor]:
        assert batch.target_BE is not None
        assert batch.found_B is not None
        sides, teacher_BE = (source_BD, target_BD), batch.target_BE
        if not batch.found_B.all():
            sides, teacher_BE = (source_BD[batch.found_B], target_BD[batch.found_B]), teacher_BE[batch.found_B]
        if not len(teacher_BE):
            nothing = source_BD.sum() * 0.0
            return {name: nothing for name in ("regression", "similarity") if getattr(self.config, name)}
        named = {}
        if self.config.regression:
            cosine = self.config.regression_kind == "cosine"
            loss = losses.cosine_regression if cosine else losses.squared_regression
            named["regression"] = loss(self.projection(torch.cat(sides)), torch.cat([teacher_BE, teacher_BE]))
        if self.config.similarity:
            temperature = self.config.similarity_temperature
            wanted_BB = losses.similarity_shares(teacher_BE, temperature)
            one, other = (losses.similarity_kl(side_BD, wanted_BB, temperature) for side_BD in sides)
            named["similarity"] = (one + other) / 2
        return named


class Draws(Protocol):
    """Which rows make the batch of a step."""

    def rows(self, step: int) -> np.ndarray:
        """Row numbers, `[B]`."""


class Distillation:
    """The training loop's task: a student, its corpus, its targets."""

    def __init__(
        self,
        module: Objectives,
        pairs: Pairs,
        tokens: Path,
        *,
        sampler: Draws,
        targets: Targets | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.module, self.pairs, self.targets, self.seed, self.device = module, pairs, targets, seed, device
        self._on_device = partial(on_device, device)
        self.student = module.student
        names = {id(p): name for name, p in module.named_parameters()}
        self.tables = tuple(names[id(p)] for p in self.student.table_parameters())
        self._source, self._target = (Ragged(tokens, f"{side}_ids", "uint32") for side in ("source", "target"))
        self._sampler = sampler

    def batch(self, number: int) -> Batch:
        """The batch of that number, on the device."""
        rows_B = self._sampler.rows(number)
        ids, offsets = joined([self._source.take(rows_B), self._target.take(rows_B)])
        ids, offsets = self.student.augment(ids, offsets, np.random.default_rng([self.seed, 3, number]))
        target, found = (None, None)
        if self.targets is not None:
            target, found = map(self._on_device, self.targets.vectors(np.asarray(self.pairs.unique[rows_B])))
        return Batch(
            self._on_device(ids.astype(np.int64)),
            self._on_device(offsets.astype(np.int64)),
            self._on_device(self.pairs.source_key[rows_B].view(np.int64)),
            self._on_device(self.pairs.target_key[rows_B].view(np.int64)),
            target,
            found,
        )

    @torch.no_grad()
    def rotation(self) -> Tensor | None:
        """The map `[E, D]` that takes a trained student's vectors nearest to its teacher's, from some training texts.

        A student cut from its teacher is near it already: from a random projection it would have to unlearn that.
        None where the widths agree, or too few texts have a target to tell.
        """
        if not isinstance(self.module.projection, nn.Linear) or self.targets is None:
            return None
        self.module.to(self.device).eval()
        drawn = np.random.default_rng([self.seed, 7]).permutation(np.unique(self.pairs.unique[self.pairs.train_rows]))
        ours, teachers, wanted = list[Tensor](), list[Tensor](), ROTATION_TEXTS
        for start in range(0, len(drawn), ROTATION_TEXTS):
            target_NE, found_N = self.targets.vectors(drawn[start : start + wanted])
            kept = drawn[start : start + wanted][found_N]
            ours.append(self._encode("source", np.asarray(self.pairs.first[kept])))
            teachers.append(self._on_device(target_NE[found_N]))
            wanted = ROTATION_TEXTS - sum(map(len, ours))
            if wanted <= 0:
                break
        student_ND, teacher_NE = torch.cat(ours), torch.cat(teachers)
        if len(student_ND) < 2 * student_ND.shape[1]:
            return None
        return losses.nearest_rotation(student_ND, teacher_NE).cpu()

    def losses(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum and the objectives by name."""
        return self.module(batch)

    def sizes(self, batch: Batch) -> dict[str, int]:
        """Pairs, and tokens of both sides."""
        return {"pairs": len(batch.source_key_B), "tokens": len(batch.ids_K)}

    def evaluate(self) -> dict[str, float]:
        """Held-out retrieval per language; see `heldout.retrieval`."""
        return retrieval(self.pairs, self._encode)

    def _encode(self, side: Side, rows_N: np.ndarray) -> Tensor:
        store = self._source if side == "source" else self._target
        parts = np.split(rows_N, range(EVALUATION_TEXTS, len(rows_N), EVALUATION_TEXTS))
        return torch.cat([self.student(*self._tensors(*store.take(rows))) for rows in parts])

    def _tensors(self, ids: np.ndarray, offsets: np.ndarray) -> tuple[Tensor, Tensor]:
        return self._on_device(ids.astype(np.int64)), self._on_device(offsets)


def corpus_sampler(pairs: Pairs, files: list[str], config: CorpusConfig, batch: int, seed: int) -> Sampler:
    """Batches of training pairs: languages by temperature, and within a language the files by their weights."""
    groups, shares = corpus_groups(pairs, files, config)
    return Sampler([pairs.train_rows[places] for places in groups], np.array(shares), batch, seed)


def corpus_groups(pairs: Pairs, files: list[str], config: CorpusConfig) -> tuple[list[np.ndarray], list[float]]:
    """Places in `train_rows` of pairs that are drawn equally often, and the share of a batch that each group gets."""
    weight_F = np.array([config.weight_of(file) for file in files])
    weight_N = weight_F[pairs.origin[pairs.train_rows]]
    language_N = np.asarray(pairs.language[pairs.train_rows]).astype(np.int64)
    values, kind_N = np.unique(weight_N, return_inverse=True)
    classes = grouped(language_N * len(values) + kind_N)
    classes = {number: rows for number, rows in classes.items() if values[number % len(values)] > 0}
    if not classes:
        raise UserError("corpus.weights leave nothing to train on: every file has weight 0")
    languages = [pairs.languages[number // len(values)] for number in classes]
    sizes = [len(rows) * values[number % len(values)] for number, rows in classes.items()]
    return list(classes.values()), shares_within(languages, sizes, config.temperature)
