"""Distil a student: corpus -> pairs -> vocabulary -> tokens -> targets -> training -> model folder.

Every arrow is a folder in `<out>.work/`, made once and made again only when what it depends on has changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.distillation import Distillation, Objectives, ObjectivesConfig, Targets, corpus_sampler
from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, sha256_file, write_lineage, writing_folder
from compact_labse.gather import CorpusConfig
from compact_labse.locate import locate
from compact_labse.loop import LoopConfig, train
from compact_labse.pairs import Pairs
from compact_labse.prepare import prepare_pairs, prepare_tokens, prepare_vocabulary
from compact_labse.progress import say
from compact_labse.stages import hash_of
from compact_labse.students import StudentConfig, new_student, save_student
from compact_labse.targets import LiveTargets, cache_targets
from compact_labse.vocabulary import VocabularyConfig

# Settings that do not change what is trained; `loop` has its own list of those.
UNDECISIVE = ("out", "work", "targets", "overwrite", "loop")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Everything that decides a student.

    Args:
        data: Files, folders or globs of sentence pairs, the teacher's language first.
        out: Folder that the student is written to.
        teacher: Name or folder of the encoder to learn from; None to learn from the pairs alone.
        teacher_pooling: Pooling of a teacher's folder that does not say it: cls or mean.
        work: Folder for what is made on the way; `<out>.work` by default.
        targets: Folder of the teacher's vectors, to share them between students; in `work` by default.
        batch: Pairs per batch.
        overwrite: Replace `out` if it exists.
    """

    data: list[str]
    out: str
    teacher: str | None = None
    teacher_pooling: str | None = None
    work: str | None = None
    targets: str | None = None
    batch: int = 1024
    overwrite: bool = False
    student: StudentConfig = field(default_factory=StudentConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    objectives: ObjectivesConfig = field(default_factory=ObjectivesConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("no corpus was named: give --data at least one file or folder")
        if self.batch < 2:
            raise UserError(f"batch must be at least 2, got {self.batch}: ranking needs other pairs to compare with")
        if self.teacher is None and (self.objectives.needs_teacher or self.student.start == "teacher"):
            raise UserError(
                "no teacher was named, but an objective or student.start needs one: give --teacher, "
                "or set objectives.regression and objectives.similarity to 0"
            )

    @property
    def work_folder(self) -> Path:
        """Where the stages lie."""
        return Path(self.work) if self.work else Path(self.out.rstrip("/") + ".work")


def run(cfg: DistillConfig) -> Path:
    """Make the student that `cfg` describes and return its folder; stages that are there already are reused."""
    out, work, seed = Path(cfg.out), cfg.work_folder, cfg.loop.seed
    if not cfg.overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} exists and is not empty; choose another --out or give --overwrite true")
    sources = find_sources(cfg.data, None, PAIR_KINDS)
    files = [source.name for source in sources]
    teacher = _teacher(cfg)

    pairs, pairs_key = prepare_pairs(sources, cfg.corpus, work / "pairs")
    tokenizer, vocabulary_key = prepare_vocabulary(
        cfg.vocabulary,
        cfg.student.start,
        teacher,
        work / "vocabulary",
        pairs=pairs,
        pairs_key=pairs_key,
        weights=cfg.corpus.weights,
        weight_F=np.array([cfg.corpus.weight_of(file) for file in files]),
        teacher_name=cfg.teacher,
        seed=seed,
    )
    tokens = prepare_tokens(pairs, tokenizer, cfg.student, [pairs_key, vocabulary_key], work / "tokens")
    targets = _targets(cfg, teacher, pairs)

    student = new_student(cfg.student, tokenizer, teacher, seed)
    module = Objectives(student, cfg.objectives, targets.dim if targets else None)
    sampler = corpus_sampler(pairs, files, cfg.corpus, cfg.batch, seed)
    device = cfg.loop.torch_device()
    task = Distillation(module, pairs, tokens, sampler=sampler, targets=targets, seed=seed, device=device)
    decides = {name: value for name, value in asdict(cfg).items() if name not in UNDECISIVE}
    progress = train(task, cfg.loop, work / "training", key=hash_of([decides, pairs_key, vocabulary_key]))

    with writing_folder(out, overwrite=cfg.overwrite) as folder:
        save_student(student, tokenizer, folder)
        (folder / "config.yaml").write_text(yaml.safe_dump(_plain(asdict(cfg)), sort_keys=False, allow_unicode=True))
        inputs = {file: sha256_file(Path(file)) for file in files if Path(file).is_file()}
        inputs |= {"teacher": model_hash(teacher.source)} if teacher and teacher.source else {}
        write_lineage(folder, command="distill", config=asdict(cfg), inputs=inputs)
    say(f"student of {progress.step} steps saved in {out}")
    return out


def _teacher(cfg: DistillConfig) -> Encoder | None:
    needed = cfg.objectives.needs_teacher or "teacher" in (cfg.student.start, cfg.vocabulary.kind)
    if cfg.teacher is None or not needed:
        return None
    if locate(cfg.teacher).suffix == ".onnx":
        return load(cfg.teacher)
    precision = "bf16" if cfg.objectives.teacher_bf16 else "fp32"
    return load(cfg.teacher, pooling=cfg.teacher_pooling, precision=precision, device=cfg.loop.device)


def _targets(cfg: DistillConfig, teacher: Encoder | None, pairs: Pairs) -> Targets | None:
    if teacher is None or not cfg.objectives.needs_teacher:
        return None
    if cfg.objectives.targets == "live" or teacher.source is None:
        return LiveTargets(teacher, pairs)
    folder = Path(cfg.targets) if cfg.targets else cfg.work_folder / "targets"
    return cache_targets(teacher, model_hash(teacher.source), pairs, folder, cfg.objectives.max_targets)


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
