"""Train a teacher: a dual encoder whose sentences find their translations among all ranks' (LaBSE).

    torchrun --nproc-per-node 4 -m compact_labse train --data pairs/ --model folder --out teacher

Every arrow of pairs -> vocabulary -> start -> tokens -> training -> model folder is a folder in `<out>.work/`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from compact_labse.configuration import as_yaml
from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.folder import check_out, file_hashes, model_hash, write_lineage, writing_folder
from compact_labse.gather import CorpusConfig
from compact_labse.progress import say
from compact_labse.stages import alone_in, hash_of, stage
from compact_labse.students import StudentConfig
from compact_labse.tokens import Tokens
from compact_labse.training.loop_config import LoopConfig
from compact_labse.training.schedule import OptimizerConfig
from compact_labse.vocabulary import VocabularyConfig

if TYPE_CHECKING:
    from torch import Tensor

    from compact_labse.pairs import Pairs
    from compact_labse.training.pair_training import Share, Sides

# Settings that do not change what is trained; `loop` has its own list of those.
UNDECISIVE = ("out", "work", "overwrite", "loop", "chunk", "engine", "timeout_s")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a teacher.

    Args:
        out: Folder that the model is written to.
        data: Files, folders or globs of sentence pairs, one language on the left.
        stream: Files or `hf:` names of pairs that are read as training goes on, each rank a share of its own, for
            corpora too large to store; `data` then gives a new vocabulary and the held-out pairs alone.
        model: Name or folder of the encoder to start from: sentence-transformers, or transformers with `pooling`
            named. None makes a new one of `student`'s shape, with a vocabulary trained on the pairs.
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
        local: Tell sentences apart only within so many pairs, as training without a gather does, to compare with it.
            0: within all of `batch`.
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
    stream: list[str] = field(default_factory=list)
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
    local: int = 0
    chunk: int = 256
    engine: Literal["ddp", "fsdp"] = "ddp"
    timeout_s: float = 600.0
    overwrite: bool = False
    student: StudentConfig = field(default_factory=lambda: StudentConfig(kind="bert", dim=384, layers=6, heads=12))
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(optimizer=OptimizerConfig(lr=1e-4, table_lr=1e-4)))

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("no corpus was named: give --data at least one file or folder of sentence pairs")
        if self.batch < 2:
            raise UserError(f"batch must be at least 2, got {self.batch}: ranking needs other pairs to compare with")
        if self.scale <= 0 or not 0 <= self.margin < 2:
            raise UserError(f"scale must be positive and margin in [0, 2), got {self.scale} and {self.margin}")
        if min(self.hard_negatives, self.chunk) < 0:
            raise UserError(f"hard_negatives and chunk must not be negative, got {self.hard_negatives}, {self.chunk}")
        if self.local < 0 or (self.local and self.batch % self.local):
            raise UserError(f"local must divide batch, got {self.local} for a batch of {self.batch}")
        if self.max_tokens < 4 or self.timeout_s <= 0:
            raise UserError(f"max_tokens must be at least 4 and timeout_s positive, got {self.max_tokens}")
        if self.engine not in ("ddp", "fsdp"):
            raise UserError(f"engine is {self.engine!r}; known: ddp, fsdp")
        if self.loop.accumulation != 1:
            raise UserError("loop.accumulation would rank within parts of the batch: make `chunk` smaller instead")
        if self.model is None and self.student.kind == "static":
            raise UserError("a new teacher is a transformer: student.kind must be bert or electra")
        if self.stream and self.hard_negatives:
            raise UserError("hard_negatives are found in stored pairs: give them as data, not as stream")
        if self.corpus.companions or self.student.bits:
            raise UserError("corpus.companions and student.bits belong to distillation; here, set hard_negatives")

    @property
    def work_folder(self) -> Path:
        """Where the stages lie."""
        return Path(self.work) if self.work else Path(self.out.rstrip("/") + ".work")


def run(cfg: TrainConfig) -> Path:
    """Train the teacher that `cfg` describes and return its folder; stages that are there already are reused.

    Started by `torchrun`, every rank calls this: the first prepares the data and writes, the others wait for it.
    """
    check_out(Path(cfg.out), cfg.overwrite, cfg.student.start_folder, cfg.model)
    # Here and not above: the command line reads TrainConfig before anything needs torch.
    from compact_labse.training import ranks

    with ranks.together(cfg.loop.torch_device(), cfg.timeout_s):
        if cfg.batch % ranks.world() or (cfg.local and cfg.batch // ranks.world() % cfg.local):
            raise UserError(f"batch {cfg.batch} (and `local`) must divide evenly among {ranks.world()} ranks")
        with alone_in(cfg.work_folder) if ranks.is_first() else nullcontext():
            return _train(cfg)


def _train(cfg: TrainConfig) -> Path:
    import torch

    from compact_labse.prepare import stream_states
    from compact_labse.sentence_model import read_modules
    from compact_labse.training import ranks
    from compact_labse.training.checkpoint import whole_weights
    from compact_labse.training.loop import train
    from compact_labse.training.pair_training import PairTraining, sides_of
    from compact_labse.training.tower import Tower, shared

    files = [source.name for source in find_sources(cfg.data, None, PAIR_KINDS)]
    pairs, pairs_key, start, tokens = ranks.after_first(lambda: _prepare(cfg))
    device, sides = ranks.own_device(cfg.loop.torch_device()), sides_of(tokens)
    torch.manual_seed(cfg.loop.seed + ranks.rank())  # each rank drops other activations
    tower = Tower(read_modules(start)[0], cfg.scale, learn_scale=cfg.learn_scale).to(device)
    task = PairTraining(
        tower,
        shared(tower, cfg.engine, device),
        _share(cfg, pairs, pairs_key, start, sides, files),
        heldout=pairs,
        sides=sides,
        batch=cfg.batch,
        chunk=cfg.chunk,
        margin=cfg.margin,
        local=cfg.local,
        device=device,
    )
    decides = {name: value for name, value in asdict(cfg).items() if name not in UNDECISIVE}
    key = hash_of([decides, pairs_key, model_hash(start), *stream_states(cfg.stream)])
    progress = train(task, cfg.loop, cfg.work_folder / "training", key=key, replace=cfg.overwrite)
    weights = whole_weights(tower.encoder)  # every rank has a part
    if ranks.is_first():
        _write(cfg, weights, start, files)
        say(f"teacher of {progress.step} steps saved in {cfg.out}")
    return Path(cfg.out)


def _write(cfg: TrainConfig, weights: dict[str, Tensor], start: Path, files: list[str]) -> None:
    """The model folder, with the configuration and where it all came from."""
    from compact_labse.students.retrained import save_like

    with writing_folder(Path(cfg.out), overwrite=cfg.overwrite) as folder:
        save_like(weights, start, folder)
        (folder / "config.yaml").write_text(as_yaml(cfg), encoding="utf-8")
        inputs = file_hashes(files) | {"start": model_hash(start)}
        write_lineage(folder, command="train", config=asdict(cfg), inputs=inputs)


def _share(cfg: TrainConfig, pairs: Pairs, pairs_key: str, start: Path, sides: Sides, files: list[str]) -> Share:
    """Where this rank's part of each batch comes from: the stored pairs, or a stream."""
    from compact_labse.training import ranks
    from compact_labse.training.companions import draws
    from compact_labse.training.pair_training import StoredShare
    from compact_labse.training.streamed import StreamedShare

    if not cfg.stream:
        corpus, drawn = replace(cfg.corpus, companions=cfg.hard_negatives), cfg.batch * (1 + cfg.hard_negatives)
        place = cfg.work_folder / "neighbours"
        made = ranks.after_first(lambda: draws(pairs, pairs_key, files, corpus, drawn, cfg.loop.seed, cfg.miner, place))
        return StoredShare(sides, pairs, made, cfg.batch)
    count, sources = cfg.batch // ranks.world(), find_sources(cfg.stream, None, PAIR_KINDS)
    return StreamedShare(sources, cfg.corpus, _tokens(cfg, start), pairs, count=count, seed=cfg.loop.seed)


def _prepare(cfg: TrainConfig) -> tuple[Pairs, str, Path, Path]:
    """Pairs and their key, the folder of the model to start from, and the folder of tokens: each made once."""
    from compact_labse import prepare

    sources, work = find_sources(cfg.data, None, PAIR_KINDS), cfg.work_folder
    given = None if cfg.model is None else _given_start(cfg, cfg.model)  # before the corpus, which may take hours
    pairs, pairs_key = prepare.prepare_pairs(sources, [], cfg.corpus, work / "pairs")
    start = given or _new_start(cfg, pairs, pairs_key, [source.name for source in sources])
    tokens = _tokens(cfg, start)
    kind = cfg.student.kind if tokens.special else "static"
    shape = replace(cfg.student, max_tokens=tokens.max_tokens or cfg.max_tokens, kind=kind)
    keys = [pairs_key, model_hash(start)]
    return pairs, pairs_key, start, prepare.prepare_tokens(pairs, tokens.tokenizer, shape, keys, work / "tokens")


def _tokens(cfg: TrainConfig, start: Path) -> Tokens:
    """The tokenizer of the model to start from, which cuts at `max_tokens`."""
    from compact_labse.torch_encoder import TorchEncoder

    found, most = TorchEncoder.open(start, device="cpu").tokens, cfg.max_tokens
    if found.prefix:
        raise UserError(f"{start} puts {found.prefix!r} before every text, which training here does not")
    return Tokens(found.tokenizer, max_tokens=min(most, found.max_tokens or most), special=found.special)


def _given_start(cfg: TrainConfig, model: str) -> Path:
    """The sentence-transformers folder of the model that was named."""
    from compact_labse.compress.model_files import model_folder
    from compact_labse.students.retrained import write_pooled

    given, folder = model_folder(model), cfg.work_folder / "start"
    if (given / "modules.json").is_file():
        return given
    depends = {"pooling": cfg.pooling, "model": model_hash(given)}
    stage(folder, "start", depends, lambda to: write_pooled(given, cfg.pooling, to))
    return folder


def _new_start(cfg: TrainConfig, pairs: Pairs, pairs_key: str, files: list[str]) -> Path:
    """The folder of a new model, with a vocabulary of its own."""
    from compact_labse.prepare import new_vocabulary
    from compact_labse.students.retrained import write_new

    folder, place, seed = cfg.work_folder / "start", cfg.work_folder / "vocabulary", cfg.loop.seed
    made, key = new_vocabulary(cfg.vocabulary, place, cfg.student.start, pairs, pairs_key, files, cfg.corpus, seed)
    depends: dict[str, Any] = {"pooling": cfg.pooling, "student": asdict(cfg.student), "vocabulary": key, "seed": seed}
    stage(folder, "start", depends, lambda to: write_new(cfg.student, made, cfg.pooling or "mean", seed, to))
    return folder
