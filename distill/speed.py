"""How fast the training loop is, beside a bare PyTorch loop of the same model, loss and batches.

    python distill/speed.py

The bare loop has its batches in memory and does nothing but forward, backward and AdamW. Ours reads a memory-mapped
corpus, samples languages, masks equal texts, clips, logs and writes checkpoints. Both run alternately, several times.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn

from compact_labse.gather import CorpusConfig, Record
from compact_labse.pairs import Pairs, write_pairs, write_tokens
from compact_labse.students import StaticStudent, StudentConfig, TransformerStudent
from compact_labse.students.ragged import padded
from compact_labse.training.distillation import Batch, Distillation, Objectives, corpus_sampler
from compact_labse.training.loop import LoopConfig, train
from compact_labse.training.objectives_config import ObjectivesConfig
from compact_labse.training.schedule import OptimizerConfig


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """What is compared.

    Args:
        kind: "static" or "bert".
        vocabulary: Rows of the table.
        batch: Pairs per step.
        steps: Steps of each run.
        repeats: Runs of each loop, alternating.
        threads: CPU threads.
        pairs: Pairs of the made-up corpus.
    """

    kind: str = "static"
    vocabulary: int = 100_000
    batch: int = 2048
    steps: int = 20
    repeats: int = 3
    threads: int = 1
    pairs: int = 40_000


LIMIT = 0.7
STATIC = SpeedConfig()
BERT = SpeedConfig(kind="bert", vocabulary=30_000, batch=64, steps=8)


def run(cfg: SpeedConfig) -> float:
    """Print both speeds in pairs per second and return ours as a share of the bare loop's."""
    torch.set_num_threads(cfg.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = _corpus(cfg, folder)
        ours, bare = [], []
        for number in range(cfg.repeats):
            bare.append(_bare(cfg, [_task(cfg, pairs, folder).batch(step) for step in range(cfg.steps)]))
            ours.append(_ours(cfg, _task(cfg, pairs, folder), folder / f"run{number}"))
    speeds = {"bare": statistics.median(bare), "ours": statistics.median(ours)}
    share = speeds["ours"] / speeds["bare"]
    print(
        f"{cfg.kind}, {cfg.vocabulary:,} pieces, batch {cfg.batch}, {cfg.threads} thread: bare loop "
        f"{speeds['bare']:,.0f} pairs/s, ours {speeds['ours']:,.0f} pairs/s ({share:.0%})"
    )
    return share


def student(cfg: SpeedConfig) -> StaticStudent | TransformerStudent:
    """The model that both loops train."""
    torch.manual_seed(0)
    if cfg.kind == "static":
        return StaticStudent(StudentConfig(dim=256), cfg.vocabulary)
    return TransformerStudent(StudentConfig(kind="bert", dim=256, layers=3, max_tokens=64), cfg.vocabulary, pad_id=0)


def _ours(cfg: SpeedConfig, task: Distillation, folder: Path) -> float:
    loop = LoopConfig(steps=cfg.steps, eval_every=0, optimizer=OptimizerConfig(), bf16=False, device="cpu")
    return cfg.batch * cfg.steps / train(task, loop, folder).seconds


def _bare(cfg: SpeedConfig, batches: list[Batch]) -> float:
    encode, parameters = _plain_model(cfg)
    adam = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    right_B = torch.arange(cfg.batch)
    started = time.monotonic()
    for batch in batches:
        source_BD, target_BD = encode(batch).chunk(2)
        logits_BB = (source_BD @ target_BD.T - 0.1 * torch.eye(cfg.batch)) * 20.0
        loss = (F.cross_entropy(logits_BB, right_B) + F.cross_entropy(logits_BB.T, right_B)) / 2
        loss.backward()
        adam.step()
        adam.zero_grad()
    return cfg.batch * cfg.steps / (time.monotonic() - started)


def _plain_model(cfg: SpeedConfig) -> tuple[Callable[[Batch], Tensor], Iterator[nn.Parameter]]:
    """The same model as one would write it by hand: an EmbeddingBag, or the whole batch padded to its longest text."""
    if cfg.kind == "static":
        bag = nn.EmbeddingBag(cfg.vocabulary, 256, mode="mean")
        return lambda batch: F.normalize(bag(batch.ids_K, batch.offsets[:-1]), dim=-1), bag.parameters()
    model = student(cfg)
    assert isinstance(model, TransformerStudent)

    def encode(batch: Batch) -> Tensor:
        every = torch.arange(2 * cfg.batch)
        return F.normalize(model.pooled(*padded(batch.ids_K, batch.offsets, every, 0)), dim=-1)

    return encode, model.parameters()


def _corpus(cfg: SpeedConfig, folder: Path) -> Pairs:
    """Made-up pairs: 4 to 30 words, drawn as words are (by one over their rank), in ten languages of unequal size."""
    random = np.random.default_rng(0)
    frequency = 1 / np.arange(1, cfg.vocabulary)
    words = iter(random.choice(cfg.vocabulary - 1, 60 * cfg.pairs, p=frequency / frequency.sum()) + 1)
    lengths = random.integers(4, 31, 2 * cfg.pairs)
    texts = [" ".join(str(next(words)) for _ in range(length)) for length in lengths]
    languages = [f"l{number}" for number in random.integers(0, 10, cfg.pairs) ** 2 // 10]
    records = map(Record, texts[::2], texts[1::2], languages, [0] * cfg.pairs)
    write_pairs(records, CorpusConfig(heldout=0), folder)
    tokenizer = Tokenizer(models.WordLevel({str(number): number for number in range(cfg.vocabulary)}, unk_token="0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    write_tokens(Pairs(folder), tokenizer, max_tokens=64, special=False, folder=folder)
    return Pairs(folder)


def _task(cfg: SpeedConfig, pairs: Pairs, tokens: Path) -> Distillation:
    module = Objectives(student(cfg), ObjectivesConfig(regression=0), None)
    sampler = corpus_sampler(pairs, ["pairs"], CorpusConfig(), cfg.batch, seed=0)
    return Distillation(module, pairs, tokens, sampler=sampler, targets=None, seed=0, device=torch.device("cpu"))


def verdict(shares: list[float]) -> int | str:
    """0 when every share reaches the limit, else the sentence to exit with."""
    return 0 if min(shares) >= LIMIT else f"slower than {LIMIT:.0%} of a bare loop"


if __name__ == "__main__":
    sys.exit(verdict([run(STATIC), run(BERT)]))
