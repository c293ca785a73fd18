"""What the margin, the gathered softmax, pretraining and the batch are worth: small teachers, each by several seeds.

    python distill/teacher/ablation.py --config distill/teacher/ablation.yaml --data TRAIN... --evaluation DIR --out DIR

Every run is a folder `OUT/<arm>-<seed>`; what is there is not made again, and an interrupted run goes on. `OUT` also
gets `results.jsonl` (the records that `compact-labse eval` writes) and `table.md`. The sentences of the evaluation are
removed from training.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compact_labse.configuration import Words, as_yaml, run_script
from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say
from compact_labse.stages import alone_in
from compact_labse.students import StudentConfig
from compact_labse.training.loop_config import LoopConfig
from compact_labse.vocabulary import VocabularyConfig
from compact_labse.writing import writing_file

ARMS = {
    "base": "margin, all of the batch as negatives",
    "margin-0": "without the margin",
    "local": "negatives of the own rank alone (of `shards`), the same batch",
    "batch-quarter": "a quarter of the batch, and of the pairs seen",
    "batch-quarter-long": "a quarter of the batch in four times the steps: the same pairs seen",
    "pretrained": "starts from MLM and TLM on the same text",
    "pretrained-mlm": "starts from MLM on the same text",
}
SHARED = ("pairs", "vocabulary")  # stages that are the same for every run


@dataclass(frozen=True, kw_only=True)
class AblationConfig:
    """What is compared, and how large the teachers are.

    Args:
        out: Folder of all runs.
        data: Files, folders or globs of sentence pairs, English first.
        evaluation: Folder with tatoeba/ and pud/; their sentences are kept out of training.
        arms: Which arms to run (base, margin-0, local, batch-quarter, batch-quarter-long,
            pretrained, pretrained-mlm).
        seeds: One run of each arm per seed.
        shards: How many ranks the local negatives stand for: each sees batch / shards pairs.
        ranks: Processes that train together (gloo). 1 gives the same gradients in one process.
        batch: Pairs per step.
        margin: The margin of all arms but one.
        scale: Factor of the cosines.
        max_tokens: Longest text.
        pretrain_steps: Steps of pretraining.
        pretrain_batch: Rows per step of pretraining.
        pretrain_lr: Learning rate of pretraining, of layers and table.
    """

    out: str
    data: list[str] = field(default_factory=list)
    evaluation: str = ""
    arms: list[str] = field(default_factory=lambda: list(ARMS))
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    shards: int = 4
    ranks: int = 1
    batch: int = 512
    margin: float = 0.3
    scale: float = 20.0
    max_tokens: int = 32
    pretrain_steps: int = 1000
    pretrain_batch: int = 128
    pretrain_lr: float = 1e-3
    student: StudentConfig = field(default_factory=lambda: StudentConfig(kind="bert", dim=128, layers=2, heads=4))
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms or not self.seeds:
            raise UserError(f"arms and seeds must not be empty; known arms: {', '.join(ARMS)}; got {self.arms}")
        if not self.data or not Path(self.evaluation).is_dir():
            raise UserError("give --data (sentence pairs) and --evaluation (the folder with tatoeba/ and pud/)")
        if self.batch % (4 * self.shards) or self.shards % self.ranks:
            raise UserError(f"batch {self.batch} must be a multiple of 4 x shards, and shards of ranks")
        if self.loop.steps is None:
            raise UserError("loop.steps is needed: arms of unequal steps compare nothing")


WORDS = Words(
    command="ablation",
    usage="python distill/teacher/ablation.py --data PATH... --evaluation DIR --out DIR [--config FILE] [KEY=VALUE]...",
    description=str(__doc__),
    lists=("--data", "--corpus.avoid"),
)


def run(cfg: AblationConfig) -> Path:
    """Make every run that is missing, evaluate it, and write the table; gives its path."""
    from compact_labse.measure.arms import table
    from compact_labse.measure.results import Results

    out, chosen = Path(cfg.out), {arm: ARMS[arm] for arm in cfg.arms}
    with alone_in(out):
        results = Results(out / "results.jsonl")
        runs = [(arm, seed) for seed in cfg.seeds for arm in cfg.arms]
        for number, (arm, seed) in enumerate(runs, 1):
            say(f"run {number} of {len(runs)}: {arm}, seed {seed}")
            folder = _trained(cfg, arm, seed)
            _evaluate(cfg, folder, results)
            with writing_file(out / "table.md") as temporary:  # after every run, so that one can look early
                temporary.write_text(table(results.records, chosen, cfg.seeds, base="base"), encoding="utf-8")
    say(f"table: {out / 'table.md'}")
    return out / "table.md"


def _trained(cfg: AblationConfig, arm: str, seed: int) -> Path:
    """The teacher of an arm and a seed, trained unless its folder is there."""
    start = None
    if arm.startswith("pretrained"):
        start = _made(pretrain_config(cfg, arm, seed), "pretrain", 1)
    return _made(train_config(cfg, arm, seed, start), "train", cfg.ranks)


def train_config(cfg: AblationConfig, arm: str, seed: int, start: Path | None) -> Any:
    """The configuration of one teacher: the base with what the arm changes."""
    kind = load_pipeline("distill", "teacher/train").TrainConfig
    batch = cfg.batch // 4 if arm.startswith("batch-quarter") else cfg.batch
    steps = (cfg.loop.steps or 0) * (4 if arm == "batch-quarter-long" else 1)
    return kind(
        out=str(Path(cfg.out) / f"{arm}-{seed}"),
        data=cfg.data,
        model=None if start is None else str(start),
        pooling="mean",
        batch=batch,
        local=cfg.batch // cfg.shards if arm == "local" else 0,
        margin=0.0 if arm == "margin-0" else cfg.margin,
        scale=cfg.scale,
        max_tokens=cfg.max_tokens,
        chunk=0,
        student=cfg.student,
        vocabulary=cfg.vocabulary,
        corpus=_corpus(cfg),
        loop=replace(cfg.loop, seed=seed, steps=steps),
    )


def pretrain_config(cfg: AblationConfig, arm: str, seed: int) -> Any:
    """The configuration of the model that an arm starts from."""
    kind = load_pipeline("distill", "teacher/pretrain").PretrainConfig
    optimizer = replace(cfg.loop.optimizer, lr=cfg.pretrain_lr, table_lr=cfg.pretrain_lr)
    return kind(
        out=str(Path(cfg.out) / f"{arm}-start-{seed}"),
        data=cfg.data,
        batch=cfg.pretrain_batch,
        tlm=0.5 if arm == "pretrained" else 0.0,
        max_tokens=min(2 * cfg.max_tokens, cfg.student.max_tokens),
        student=cfg.student,
        vocabulary=cfg.vocabulary,
        corpus=_corpus(cfg),
        loop=replace(cfg.loop, seed=seed, steps=cfg.pretrain_steps, optimizer=optimizer),
    )


def _corpus(cfg: AblationConfig) -> CorpusConfig:
    avoid = [str(Path(cfg.evaluation) / name) for name in ("tatoeba", "pud")]
    return replace(cfg.corpus, avoid=[*cfg.corpus.avoid, *avoid])


def _made(config: Any, pipeline: str, ranks: int) -> Path:
    """The folder of a configuration: made, or found with the same configuration; UserError if it has another one."""
    out, text = Path(config.out), as_yaml(config)
    if (out / "config.yaml").is_file():
        if (out / "config.yaml").read_text(encoding="utf-8") != text:
            raise UserError(f"{out} was made with other settings; delete it, or choose another --out")
        return out
    with_shared(config.work_folder, out.parent / "corpus")
    if ranks == 1:
        load_pipeline("distill", f"teacher/{pipeline}").run(config)
    else:
        file = out.with_suffix(".yaml")
        file.write_text(text, encoding="utf-8")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
        subprocess.run([*launch, "-m", "compact_labse", pipeline, "--config", str(file)], check=True)
    _keep_shared(config.work_folder, out.parent / "corpus")
    shutil.rmtree(config.work_folder)  # tokens and checkpoints: what each run has of its own
    return out


def with_shared(work: Path, corpus: Path) -> None:
    """Let a run find the pairs and the vocabulary that an earlier one has made; the stages check that they fit."""
    work.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        if (corpus / name).is_dir() and not (work / name).exists():
            (work / name).symlink_to((corpus / name).resolve())


def _keep_shared(work: Path, corpus: Path) -> None:
    corpus.mkdir(exist_ok=True)
    for name in SHARED:
        if (work / name).is_dir() and not (work / name).is_symlink() and not (corpus / name).exists():
            (work / name).rename(corpus / name)


def _evaluate(cfg: AblationConfig, folder: Path, results: Any) -> None:
    """Tatoeba and PUD, both directions, into the results, unless they are there."""
    from compact_labse.measure.artifact import open_all
    from compact_labse.measure.quality.datasets import find
    from compact_labse.measure.runs import record_quality

    ((artifact, encoder),) = open_all([f"{folder.name}={folder}"], threads=1)
    for dataset in find(Path(cfg.evaluation), "36"):
        if dataset.name in ("tatoeba", "pud"):
            record_quality(results, artifact, encoder, dataset)


def main(words: list[str]) -> int:
    """Run what the words describe; gives the exit code, and one sentence on stderr if something fails."""
    return run_script(words, AblationConfig, WORDS, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
