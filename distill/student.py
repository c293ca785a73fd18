"""Distil a student: corpus -> pairs -> vocabulary -> tokens -> targets -> training -> model folder.

Every arrow is a folder in `<out>.work/`, made once and made again only when what it depends on has changed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from compact_labse.configuration import as_yaml
from compact_labse.corpus.files import PAIR_KINDS, TEXT_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.folder import check_out, file_hashes, model_hash, write_lineage, writing_folder
from compact_labse.gather import CorpusConfig
from compact_labse.progress import say
from compact_labse.stages import alone_in, hash_of
from compact_labse.students import StudentConfig
from compact_labse.training.loop_config import LoopConfig
from compact_labse.training.objectives_config import ObjectivesConfig
from compact_labse.vocabulary import VocabularyConfig

# Settings that do not change what is trained; `loop` has its own list of those.
UNDECISIVE = ("out", "work", "targets", "overwrite", "loop")


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """Everything that decides a student.

    Args:
        out: Folder that the student is written to.
        data: Files, folders or globs of sentence pairs, the teacher's language first.
        texts: Files, folders or globs of sentences without translation, which only learn what the teacher says.
        teacher: Name or folder of the encoder to learn from; None to learn from the pairs alone.
        teacher_pooling: Pooling of a teacher's folder that does not say it: cls or mean.
        work: Folder for what is made on the way; `<out>.work` by default.
        targets: Folder of the teacher's vectors, to share them between students; in `work` by default.
        batch: Pairs per batch.
        overwrite: Replace `out` if it exists.
    """

    out: str
    data: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
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
        if not self.data and not self.texts:
            raise UserError("no corpus was named: give --data (or --texts) at least one file or folder")
        if self.batch < 2:
            raise UserError(f"batch must be at least 2, got {self.batch}: ranking needs other pairs to compare with")
        together = 1 + self.corpus.companions
        if self.batch % together:
            raise UserError(f"batch must be a multiple of 1 + corpus.companions, which is {together}; got {self.batch}")
        if self.corpus.companions and not Path(self.student.start).is_dir():
            raise UserError("corpus.companions are found by a trained student: give its folder as student.start")
        if self.teacher is None and self.needs_teacher:
            raise UserError(
                "no teacher was named, but an objective, student.start or vocabulary.kind needs one: give --teacher, "
                "or set objectives.regression and objectives.similarity to 0"
            )

    @property
    def needs_teacher(self) -> bool:
        """Whether anything asks the teacher."""
        return self.objectives.needs_teacher or "teacher" in (self.student.start, self.vocabulary.kind)

    @property
    def work_folder(self) -> Path:
        """Where the stages lie."""
        return Path(self.work) if self.work else Path(self.out.rstrip("/") + ".work")


def run(cfg: DistillConfig) -> Path:
    """Make the student that `cfg` describes and return its folder; stages that are there already are reused."""
    check_out(Path(cfg.out), cfg.overwrite, cfg.student.start_folder, cfg.teacher)
    with alone_in(cfg.work_folder):
        return _distill(cfg)


def _distill(cfg: DistillConfig) -> Path:
    # Here and not above: the command line reads DistillConfig before anything needs torch.
    import numpy as np

    from compact_labse import prepare
    from compact_labse.compress.healing import compared
    from compact_labse.students import keep_of_start, new_student, save_student
    from compact_labse.training.companions import draws
    from compact_labse.training.distillation import Distillation, Objectives
    from compact_labse.training.loop import train

    out, work, seed, start = Path(cfg.out), cfg.work_folder, cfg.loop.seed, cfg.student.start
    sources = find_sources(cfg.data, None, PAIR_KINDS) if cfg.data else []
    texts = find_sources(cfg.texts, None, TEXT_KINDS) if cfg.texts else []
    files = [source.name for source in [*sources, *texts]]
    teacher = None
    if cfg.teacher is not None and cfg.needs_teacher:
        teacher = prepare.open_teacher(cfg.teacher, cfg.objectives, cfg.loop.device, cfg.teacher_pooling)

    pairs, pairs_key = prepare.prepare_pairs(sources, texts, cfg.corpus, work / "pairs")
    given = prepare.given_vocabulary(cfg.vocabulary, start, teacher)
    trained_on = {"weights": cfg.corpus.weights, "pairs": pairs_key, "teacher": cfg.teacher}
    tokenizer, vocabulary_key = prepare.prepare_vocabulary(
        cfg.vocabulary,
        given,
        work / "vocabulary",
        pairs=pairs,
        weight_F=np.array([cfg.corpus.weight_of(file) for file in files]),
        seed=seed,
        depends_on={"given": hash_of(given.to_str())}
        if given is not None and Path(start).is_dir()
        else {"vocabulary": asdict(cfg.vocabulary), **trained_on},
    )
    tokens = prepare.prepare_tokens(pairs, tokenizer, cfg.student, [pairs_key, vocabulary_key], work / "tokens")
    target_folder = Path(cfg.targets) if cfg.targets else work / "targets"
    targets = prepare.prepare_targets(teacher, pairs, cfg.objectives, target_folder)

    student = new_student(cfg.student, tokenizer, teacher, seed)
    module = Objectives(student, cfg.objectives, targets.dim if targets else None)
    sampler = draws(pairs, pairs_key, files, cfg.corpus, cfg.batch, seed, start, work / "companions")
    device = cfg.loop.torch_device()
    task = Distillation(module, pairs, tokens, sampler=sampler, targets=targets, seed=seed, device=device)
    # An empty list decides nothing.
    decides = {name: value for name, value in asdict(cfg).items() if name not in UNDECISIVE and value != []}
    models = [model_hash(place) for place in (cfg.student.start_folder, teacher and teacher.source) if place]
    key = hash_of([decides, pairs_key, vocabulary_key, *models])
    if cfg.student.start_folder:
        prepare.start_projection(task, key, work / "projection")
    progress = train(task, cfg.loop, work / "training", key=key, replace=cfg.overwrite)
    keep_of_start(student, cfg.student)

    with writing_folder(out, overwrite=cfg.overwrite) as folder:
        save_student(student, tokenizer, folder)
        (folder / "config.yaml").write_text(as_yaml(cfg), encoding="utf-8")
        inputs = file_hashes(files) | ({"teacher": model_hash(teacher.source)} if teacher and teacher.source else {})
        healed = compared(teacher, pairs, Path(start), folder) if teacher and cfg.student.kind == "folder" else {}
        write_lineage(folder, command="distill", config=asdict(cfg) | healed, inputs=inputs)
    say(f"student of {progress.step} steps saved in {out}")
    return out
