"""What a teacher's training step needs: peak memory against the batch, with and without chunks, and its time.

    python bench/teacher_memory.py curve --out distill/results/teacher/memory.jsonl
    python bench/teacher_memory.py labse --out distill/results/teacher/labse.jsonl   # 471 M parameters, batch 4,096
    python bench/teacher_memory.py cost --out distill/results/teacher/cost.jsonl     # the step against a bare one

Every step runs in a process of its own, on random ids and random weights: encode, rank, backward, clip, AdamW. Only the
bare steps of `cost` leave something out: the ranking with its margin, and chunks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

MIB = 1 << 20
CURVE, CURVE_CHUNK = (64, 256, 512, 1024, 2048, 4096), 64


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """One step.

    Args:
        layers: Transformer layers; the shape is BERT's, heads of 64.
        dim: Hidden size.
        pieces: Rows of the table.
        batch: Pairs.
        tokens: Tokens of every text.
        chunk: Texts encoded at a time, 0 for all at once.
        bf16: Compute in bfloat16.
        steps: Steps that are timed, after one that is not if there are several.
        bare: Sum the vectors instead of ranking them.
        checkpointed: Keep a graph of checkpointed chunks instead of the gradient cache, to compare them.
    """

    layers: int = 2
    dim: int = 128
    pieces: int = 20_000
    batch: int = 64
    tokens: int = 32
    chunk: int = 0
    bf16: bool = False
    steps: int = 1
    bare: bool = False
    checkpointed: bool = False


LABSE = StepConfig(layers=12, dim=768, pieces=501_153, batch=4096, chunk=128, bf16=True)


def step(config: StepConfig) -> dict[str, Any]:
    """Run the steps in this process; gives parameters, seconds per step, peak memory, loss and gradient norm."""
    import torch

    from compact_labse.measure.environment import resident_bytes
    from compact_labse.training.optimizer import Optimizer
    from compact_labse.training.schedule import OptimizerConfig

    torch.set_num_threads(1)
    tower = _tower(config)
    optimizer = Optimizer(tower, tower.tables, 100, OptimizerConfig(lr=1e-4, table_lr=1e-4, weight_decay=0.0, eps=1e-5))
    before = resident_bytes()["now"]
    seconds = []
    for number in range(config.steps + (config.steps > 1)):
        started = time.perf_counter()
        loss = _backward(tower, config, number)
        norm = optimizer.shorten()
        optimizer.step(number)
        seconds.append(time.perf_counter() - started)
    return {
        "parameters": sum(p.numel() for p in tower.parameters()),
        "seconds": statistics.median(seconds[1:] or seconds),
        "before_mib": round(before / MIB),
        "peak_mib": round(resident_bytes()["peak"] / MIB),
        "loss": loss,
        "gradient_norm": norm,
        "torch": torch.__version__,
    }


def _tower(config: StepConfig) -> Any:
    import torch
    from transformers import BertConfig, BertModel

    from compact_labse.bodies import TransformerBody
    from compact_labse.heads import Dense
    from compact_labse.sentence_model import SentenceModel
    from compact_labse.training.tower import Tower

    torch.manual_seed(0)
    bert = BertConfig(
        vocab_size=config.pieces,
        hidden_size=config.dim,
        num_hidden_layers=config.layers,
        num_attention_heads=config.dim // 64,
        intermediate_size=4 * config.dim,
    )
    body = TransformerBody(BertModel(bert, add_pooling_layer=False))
    return Tower(SentenceModel(body, ("cls",), sentence_heads=(Dense(config.dim, config.dim),)), 100, learn_scale=False)


def _backward(tower: Any, config: StepConfig, number: int) -> float:
    import torch
    from torch import Tensor
    from torch.utils.checkpoint import checkpoint

    from compact_labse.training import chunked
    from compact_labse.training.ranking import gathered_ranking

    random = torch.Generator().manual_seed(number)
    texts = 2 * config.batch
    ids_NT = torch.randint(0, config.pieces, (texts, config.tokens), generator=random)
    size = config.chunk or texts
    chunks = [(ids, torch.ones_like(ids)) for ids in ids_NT.split(size)]
    keys = torch.arange(texts).view(config.batch, 1, 2)

    def ranked(vectors_ND: Tensor, scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return gathered_ranking(vectors_ND.unflatten(0, (-1, 2)), keys, scale=scale, margin=0.3).loss, {}

    def summed(vectors_ND: Tensor, scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return vectors_ND[:, 0].sum() / texts, {}

    autocast: Callable[[], Any] = partial(torch.autocast, "cpu", torch.bfloat16, enabled=config.bf16)
    if config.checkpointed:
        with autocast():
            outs = [checkpoint(tower.train(), *chunk, use_reentrant=False) for chunk in chunks]
        loss, _ = ranked(torch.cat([vectors for vectors, _ in outs]), outs[-1][1])
        loss.backward()
        return float(loss)
    return float(chunked.backward(tower.train(), chunks, summed if config.bare else ranked, autocast)["loss"])


def measure(config: StepConfig, out: Path | None) -> dict[str, Any]:
    """A step in a fresh process, as a record that says what it is; appended to `out` and printed."""
    command = [sys.executable, __file__, "step", json.dumps(asdict(config))]
    ended = subprocess.run(command, check=False, capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"the step failed ({ended.returncode}): {ended.stderr[-2000:]}")
    record = {"config": asdict(config), **json.loads(ended.stdout)}
    print(json.dumps(record), flush=True)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(out, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    return record


def curve(base: StepConfig, out: Path | None) -> None:
    """Peak memory for each batch: at once, in chunks with the gradient cache, in chunks with checkpoints."""
    chunked = replace(base, chunk=CURVE_CHUNK)
    for batch in CURVE:
        for kind in (base, chunked, replace(chunked, checkpointed=True)):
            measure(replace(kind, batch=batch), out)


def cost(base: StepConfig, out: Path | None, rounds: int = 5) -> None:
    """The ranked step and those in chunks against the bare step of the same tokens, round by round."""
    chunked = replace(base, chunk=CURVE_CHUNK)
    kinds = {"bare": replace(base, bare=True), "ranked": base, "chunked": chunked}
    kinds["checkpointed"] = replace(chunked, checkpointed=True)
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, config in kinds.items():
            seconds[name].append(measure(config, out)["seconds"])
    for name in list(kinds)[1:]:
        ratios = [a / b for a, b in zip(seconds[name], seconds["bare"], strict=True)]
        print(f"{name}: {statistics.median(ratios):.3f} of the bare step ({min(ratios):.3f} to {max(ratios):.3f})")


def main() -> None:
    """Read the words and run what they name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("curve", "labse", "cost", "step"))
    parser.add_argument("config", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="JSONL file to append records to")
    parser.add_argument("--batch", type=int, help="pairs, instead of 4,096 (labse) or 256 (cost)")
    parser.add_argument("--fp32", action="store_true", help="without bfloat16 (labse)")
    args = parser.parse_args()
    if args.what == "step":
        print(json.dumps(step(StepConfig(**json.loads(args.config)))))
    elif args.what == "curve":
        curve(StepConfig(), args.out)
    elif args.what == "labse":
        measure(replace(LABSE, batch=args.batch or LABSE.batch, bf16=not args.fp32), args.out)
    else:
        cost(StepConfig(layers=6, dim=384, batch=args.batch or 256, steps=3), args.out)


if __name__ == "__main__":
    main()
