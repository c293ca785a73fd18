"""Train a teacher: a dual encoder whose sentences find their translations among all ranks' (LaBSE).

    torchrun --nproc-per-node 4 -m compact_labse train --data pairs/ --model folder --out teacher

Every arrow of pairs -> vocabulary -> start -> tokens -> training -> model folder is a folder in `<out>.work/`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.loop_config import LoopConfig
from compact_labse.students import StudentConfig
from compact_labse.vocabulary import VocabularyConfig


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a teacher.

    Args:
        out: Folder that the model is written to.
        data: Files, folders or globs of sentence pairs, one language on the left.
        model: Folder of the encoder to start from: sentence-transformers, or transformers with `pooling` named. None
            makes a new one of `student`'s shape, with a vocabulary trained on the pairs.
        pooling: Of a new model, or of a folder that does not say it: mean, cls, or pooler (cls, then BERT's own dense
            layer with tanh, as LaBSE has it).
        work: Folder for what is made on the way; `<out>.work` by default.
        batch: Pairs per step, of all ranks together: every sentence is told apart from all of these.
        margin: What the true pair's cosine must be better by.
        scale: Factor of the cosines; with `learn_scale` only where it starts.
        learn_scale: Let training change the scale.
        hard_negatives: Translations of sentences near to the pair's own that are added as wrong answers, per pair.
        miner: Encoder that finds those neighbours; by default the one that ships.
        max_tokens: Longest text in training, special tokens included; longer ones are cut.
        chunk: Texts that each rank encodes at a time. Memory grows with it and not with `batch`; the gradient is the
            whole batch's. 0 encodes all at once, which saves one forward pass.
        engine: How several ranks share the work: "ddp" (each holds the model), or "fsdp" (each holds a part of it).
        timeout_s: Seconds after which a rank that does not answer is given up.
        overwrite: Replace `out` if it exists.
        student: Shape of a new model: kind bert or electra, start random or the folder of a static student.
        vocabulary: Vocabulary of a new model with random start.
    """

    out: str
    data: list[str] = field(default_factory=list)
    model: str | None = None
    pooling: Literal["mean", "cls", "pooler"] | None = None
    work: str | None = None
    batch: int = 4096
    margin: float = 0.3
    scale: float = 100.0
    learn_scale: bool = False
    hard_negatives: int = 0
    miner: str = "default"
    max_tokens: int = 32
    chunk: int = 256
    engine: Literal["ddp", "fsdp"] = "ddp"
    timeout_s: float = 600.0
    overwrite: bool = False
    student: StudentConfig = field(default_factory=lambda: StudentConfig(kind="bert", dim=384, layers=6, heads=12))
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("no corpus was named: give --data at least one file or folder of sentence pairs")
        if self.batch < 2:
            raise UserError(f"batch must be at least 2, got {self.batch}: ranking needs other pairs to compare with")
        if self.scale <= 0 or not 0 <= self.margin < 2:
            raise UserError(f"scale must be positive and margin in [0, 2), got {self.scale} and {self.margin}")
        if min(self.hard_negatives, self.chunk) < 0:
            raise UserError(f"hard_negatives and chunk must not be negative, got {self.hard_negatives}, {self.chunk}")
        if self.max_tokens < 4 or self.timeout_s <= 0:
            raise UserError(f"max_tokens must be at least 4 and timeout_s positive, got {self.max_tokens}")
        if self.engine not in ("ddp", "fsdp"):
            raise UserError(f"engine is {self.engine!r}; known: ddp, fsdp")
        if self.loop.accumulation != 1:
            raise UserError("loop.accumulation would rank within parts of the batch: make `chunk` smaller instead")
        if self.model is None and self.student.kind == "static":
            raise UserError("a new teacher is a transformer: student.kind must be bert or electra")
        if self.corpus.companions:
            raise UserError("corpus.companions belong to distillation; here, set hard_negatives")

    @property
    def work_folder(self) -> Path:
        """Where the stages lie."""
        return Path(self.work) if self.work else Path(self.out.rstrip("/") + ".work")


def run(cfg: TrainConfig) -> Path:
    """Train the teacher that `cfg` describes and return its folder; stages that are there already are reused."""
    raise NotImplementedError
