"""Prune in several steps and distil from the unpruned model after each: prune -> distill -> prune -> distill -> ...

    compact-labse prune minilm --layers 3 --gradual 3 --minutes 30 --data texts.txt --out pruned

Each arrow is a folder in `<out>.work/`, made once: the same command goes on where an interrupted one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_labse.errors import UserError
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say
from compact_labse.stages import alone_in, hash_of
from compact_labse.training.loop_config import LoopConfig
from compact_labse.training.schedule import OptimizerConfig

if TYPE_CHECKING:
    from compact_labse.compress.structure import Prune

LAST = ("table",)  # a narrow table is made once, at the end


def healing(minutes: float, lr: float = 4e-4, table_lr: float = 2e-4) -> LoopConfig:
    """How a compressed model is trained for so long: float32, without evaluations, at rates for trained weights."""
    optimizer = OptimizerConfig(lr=lr, table_lr=table_lr)
    return LoopConfig(
        steps=None, max_minutes=minutes, bf16=False, eval_every=0, tensorboard=False, optimizer=optimizer
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GradualConfig:
    """What to prune, and how it is healed.

    Args:
        target: A `compress.structure.Prune`: the model, its text, the sizes at the end.
        steps: Prunings, each followed by training.
        batch: Texts per batch.
        loop: Training after one pruning.
    """

    target: Prune
    steps: int = 3
    batch: int = 32
    loop: LoopConfig = field(default_factory=lambda: healing(10.0))

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"--gradual must be at least 1, got {self.steps}")


def run(cfg: GradualConfig) -> list[dict[str, Any]]:
    """Write the pruned and healed model to `cfg.target.out`; gives sizes and damage of every step.

    Damage is against the unpruned model, before and after training.
    """
    from compact_labse.compress.model_files import model_folder
    from compact_labse.compress.structure import prune, sizes_of
    from compact_labse.corpus.files import content_hashes
    from compact_labse.folder import check_out, model_hash, read_lineage

    target, found, model = cfg.target, list[dict[str, Any]](), str(cfg.target.model)
    check_out(Path(target.out), target.overwrite, model_folder(target.model))
    before, after = sizes_of(target)
    if "heads" not in before:
        raise UserError(f"{target.model} is a bag of tokens, which has nothing to prune gradually: leave out --gradual")
    work, plan = Path(f"{target.out}.work"), stages(before, after, cfg.steps)
    contents = [model_hash(model_folder(target.model)), content_hashes(target.data)]
    key = hash_of([*contents, target.texts, target.pooling, cfg.batch, asdict(cfg.loop)])
    with alone_in(work):
        for number, sizes in enumerate(plan, 1):
            key = hash_of([key, sizes])
            pruned, healed = (work / f"{number}-{name}-{key[:8]}" for name in ("pruned", "healed"))
            healed = Path(target.out) if number == len(plan) else healed
            named: dict[str, Any] = dict.fromkeys(("layers", "heads", "ffn", "dim", "table")) | sizes
            say(f"pruning {number} of {len(plan)}: {', '.join(f'{name} {size}' for name, size in sizes.items())}")
            if not pruned.is_dir():
                pooling = target.pooling if number == 1 else None  # what has been pruned says it itself
                prune(replace(target, model=model, out=pruned, overwrite=False, pooling=pooling, **named))
            if number == len(plan) or not healed.is_dir():
                more: dict[str, Any] = {"batch": cfg.batch, "pooling": target.pooling, "overwrite": target.overwrite}
                more["work"] = work / f"{number}-healing-{key[:8]}"
                heal(str(pruned), target.model, target.data, healed, cfg.loop, **more)
            found.append(sizes | read_lineage(healed)["config"]["healing"])
            model = str(healed)
    return found


def stages(before: dict[str, int], after: dict[str, int], steps: int) -> list[dict[str, int]]:
    """The sizes that change in each step, in equal shares of the way; a step that would change nothing is left out."""
    plan, now = list[dict[str, int]](), dict(before)
    for number in range(1, steps + 1):
        wanted = {
            name: after[name]
            if number == steps
            else size
            if name in LAST
            else size - (size - after[name]) * number // steps
            for name, size in before.items()
            if name != "dim"  # follows from heads
        }
        changed = {name: size for name, size in wanted.items() if size != now[name]}
        if "table" in changed and after["table"] == after.get("dim"):
            del changed["table"]  # as wide as the model, without a table of its own
        if changed:
            plan.append(changed)
            now |= changed
    return plan


def heal(
    folder: str,
    original: str,
    texts: Sequence[str],
    out: Path,
    loop: LoopConfig,
    *,
    batch: int = 32,
    bits: int | None = None,
    pooling: str | None = None,
    work: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Train the model in `folder` further, to give the texts the vectors of `original`; writes `out`.

    Of pairs both sides learn, and to find each other as well.
    """
    from compact_labse.corpus.cleaning import Cleaning
    from compact_labse.corpus.files import TEXT_KINDS, find_sources
    from compact_labse.gather import CorpusConfig
    from compact_labse.students import StudentConfig
    from compact_labse.training.objectives_config import ObjectivesConfig

    sources = find_sources(list(texts), None, TEXT_KINDS)
    pairs = [source.name for source in sources if source.languages is not None]
    pipeline = load_pipeline("distill", "student")
    pipeline.run(
        pipeline.DistillConfig(
            out=str(out),
            work=str(work) if work else None,
            data=pairs,
            texts=[source.name for source in sources if source.languages is None],
            teacher=original,
            teacher_pooling=pooling,
            batch=batch,
            overwrite=overwrite,
            student=StudentConfig(kind="folder", start=folder, max_tokens=64, bits=bits),
            corpus=CorpusConfig(cleaning=Cleaning(min_chars=8)),
            objectives=ObjectivesConfig(ranking=1.0 if pairs else 0.0, targets="live", teacher_bf16=False),
            loop=loop,
        )
    )
