"""Distil a student: corpus -> pairs -> vocabulary -> tokens -> targets -> training -> model folder.

Every arrow is a folder in `<out>.work/`, made once and made again only when what it depends on has changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.corpus.account import Account
from compact_labse.corpus.files import PAIR_KINDS, Source, find_sources
from compact_labse.distillation import Distillation, Objectives, ObjectivesConfig, Targets, corpus_sampler
from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, sha256_file, write_lineage, writing_folder
from compact_labse.gather import CorpusConfig, read_records
from compact_labse.loop import LoopConfig, train
from compact_labse.pairs import Pairs, note_counts, sampled_texts, write_pairs, write_tokens
from compact_labse.progress import say
from compact_labse.stages import hash_of, stage
from compact_labse.students import StudentConfig, new_student, save_student
from compact_labse.targets import LiveTargets, cache_targets
from compact_labse.vocabulary import VocabularyConfig, teacher_vocabulary, train_vocabulary


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
    out, work = Path(cfg.out), cfg.work_folder
    if not cfg.overwrite and out.exists() and any(out.iterdir()):
        raise UserError(f"{out} exists and is not empty; choose another --out or give --overwrite true")
    sources = find_sources(cfg.data, None, PAIR_KINDS)
    teacher = _teacher(cfg)
    pairs, pairs_key = _pairs(cfg, sources, work / "pairs")
    tokenizer, vocabulary_key = _vocabulary(cfg, sources, pairs, pairs_key, teacher, work / "vocabulary")
    tokens = _tokens(cfg, pairs, tokenizer, [pairs_key, vocabulary_key], work / "tokens")
    targets = _targets(cfg, teacher, pairs, work / "targets")

    student = new_student(cfg.student, tokenizer, teacher, cfg.loop.seed)
    module = Objectives(student, cfg.objectives, targets.dim if targets else None)
    files = [source.name for source in sources]
    sampler = corpus_sampler(pairs, files, cfg.corpus, cfg.batch, cfg.loop.seed)
    task = Distillation(
        module, pairs, tokens, sampler=sampler, targets=targets, seed=cfg.loop.seed, device=cfg.loop.torch_device()
    )
    decides = {
        name: value
        for name, value in asdict(cfg).items()
        if name not in ("out", "work", "targets", "overwrite", "loop")
    }
    progress = train(task, cfg.loop, work / "training", key=hash_of([decides, pairs_key, vocabulary_key]))

    with writing_folder(out, overwrite=cfg.overwrite) as folder:
        save_student(student, tokenizer, folder)
        inputs = {file: sha256_file(Path(file)) for file in files if Path(file).is_file()}
        if teacher is not None and teacher.source is not None:
            inputs["teacher"] = model_hash(teacher.source)
        write_lineage(folder, command="distill", config=asdict(cfg), inputs=inputs)
    say(f"student of {progress.step} steps saved in {out}")
    return out


def _teacher(cfg: DistillConfig) -> Encoder | None:
    if cfg.teacher is None or not (
        cfg.objectives.needs_teacher or "teacher" in (cfg.student.start, cfg.vocabulary.kind)
    ):
        return None
    precision = "bf16" if cfg.objectives.teacher_bf16 else "fp32"
    return load(cfg.teacher, pooling=cfg.teacher_pooling, precision=precision)


def _pairs(cfg: DistillConfig, sources: list[Source], folder: Path) -> tuple[Pairs, str]:
    def build(temporary: Path) -> dict[str, Any]:
        account = Account()
        facts = write_pairs(read_records(sources, cfg.corpus, account), cfg.corpus, temporary)
        for line in account.lines():
            say(line)
        return facts

    # How pairs are drawn is not stored with them.
    stored = replace(cfg.corpus, temperature=1, weights={})
    states = [[source.name, *_state(source.name)] for source in sources]
    manifest = stage(folder, "pairs", {"corpus": asdict(stored), "files": states}, build)
    note_counts(manifest["facts"])
    return Pairs(folder), manifest["key"]


def _vocabulary(
    cfg: DistillConfig, sources: list[Source], pairs: Pairs, pairs_key: str, teacher: Encoder | None, folder: Path
) -> tuple[Tokenizer, str]:
    def build(temporary: Path) -> dict[str, Any]:
        given = _given_vocabulary(cfg, teacher)
        if given is None:
            config = cfg.vocabulary
            weight_F = np.array([cfg.corpus.weight_of(source.name) for source in sources])
            texts = sampled_texts(pairs, config.texts, config.temperature, cfg.loop.seed, weight_F)
            given = train_vocabulary(texts, config)
        given.save(str(temporary / "tokenizer.json"))
        return {"pieces": given.get_vocab_size(with_added_tokens=True)}

    start = Path(cfg.student.start)
    depends: dict[str, Any] = {
        "vocabulary": asdict(cfg.vocabulary),
        "weights": cfg.corpus.weights,
        "pairs": pairs_key,
        "teacher": cfg.teacher,
    }
    if start.is_dir():
        depends = {"start": model_hash(start)}
    manifest = stage(folder, "vocabulary", depends, build)
    return Tokenizer.from_file(str(folder / "tokenizer.json")), manifest["key"]


def _given_vocabulary(cfg: DistillConfig, teacher: Encoder | None) -> Tokenizer | None:
    start = Path(cfg.student.start)
    if cfg.student.start not in ("random", "teacher"):
        if not start.is_dir():
            raise UserError(f"student.start is {cfg.student.start!r}: neither random, teacher nor a folder that exists")
        return teacher_vocabulary(start)
    if cfg.vocabulary.kind != "teacher":
        return None
    if teacher is None or teacher.source is None:
        raise UserError("vocabulary.kind is 'teacher', but no teacher with a folder was given")
    return teacher_vocabulary(teacher.source)


def _tokens(cfg: DistillConfig, pairs: Pairs, tokenizer: Tokenizer, keys: list[str], folder: Path) -> Path:
    def build(temporary: Path) -> dict[str, Any]:
        return write_tokens(pairs, tokenizer, cfg.student.max_tokens, cfg.student.special, temporary)

    limits = {"max_tokens": cfg.student.max_tokens, "special": cfg.student.special}
    stage(folder, "tokens", {"keys": keys, **limits}, build)
    return folder


def _targets(cfg: DistillConfig, teacher: Encoder | None, pairs: Pairs, folder: Path) -> Targets | None:
    if teacher is None or not cfg.objectives.needs_teacher:
        return None
    if cfg.objectives.targets == "live":
        return LiveTargets(teacher, pairs)
    assert teacher.source is not None
    folder = Path(cfg.targets) if cfg.targets else folder
    return cache_targets(teacher, model_hash(teacher.source), pairs, folder, cfg.objectives.max_targets)


def _state(file: str) -> list[int]:
    """Size and time of change, which tell whether a file is still the same without reading it."""
    status = Path(file).stat() if Path(file).is_file() else None
    return [status.st_size, status.st_mtime_ns] if status else []
