"""Pretrain a transformer: guess masked tokens of sentences and of translation pairs, without codes of languages.

    torchrun --nproc-per-node 4 -m compact_labse pretrain --data pairs/ --out bert

pairs and texts -> vocabulary -> tokens -> training (shallow, doubled, doubled again) -> transformers folder. Every
arrow is a folder in `<out>.work/`, made once and made again only when what it depends on has changed.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_labse.configuration import as_yaml
from compact_labse.corpus.files import PAIR_KINDS, TEXT_KINDS, Source, find_sources
from compact_labse.errors import UserError
from compact_labse.folder import check_out, file_hashes, model_hash, write_lineage, writing_folder
from compact_labse.gather import CorpusConfig
from compact_labse.progress import say
from compact_labse.stages import alone_in, hash_of
from compact_labse.students import StudentConfig
from compact_labse.training.loop_config import LoopConfig
from compact_labse.training.masking import MaskingConfig
from compact_labse.training.schedule import OptimizerConfig
from compact_labse.vocabulary import VocabularyConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from compact_labse.pairs import Pairs

# Settings that do not change what is trained; `loop` has its own list of those.
UNDECISIVE = ("out", "work", "overwrite", "loop", "timeout_s")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that decides a pretrained model.

    Args:
        out: Folder that the model is written to.
        data: Files, folders or globs of sentence pairs: read together, and each side alone.
        texts: Files, folders or globs of sentences without translation.
        model: Name or folder of a BERT-like model to start from, with its tokenizer. None makes a new one of
            `student`'s shape, with a vocabulary trained on the text.
        work: Folder for what is made on the way; `<out>.work` by default.
        batch: Rows per batch, of all ranks together; a row is a sentence, or a pair behind one another.
        tlm: Share of the rows that are pairs.
        max_tokens: Longest row in tokens, special ones included; each side of a pair is cut at its half.
        stacking: Steps of the shallower stages: `[a, b]` trains a quarter of the layers for a steps, then half of them,
            started as two copies of the quarter, for b steps, then all of them for `loop.steps`. Empty: all at once.
        timeout_s: Seconds after which a rank that does not answer is given up.
        overwrite: Replace `out` if it exists.
        student: Shape of a new model: kind bert or electra.
        vocabulary: Vocabulary of a new model.
    """

    out: str
    data: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    model: str | None = None
    work: str | None = None
    batch: int = 256
    tlm: float = 0.5
    max_tokens: int = 64
    stacking: list[int] = field(default_factory=list)
    timeout_s: float = 600.0
    overwrite: bool = False
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    student: StudentConfig = field(default_factory=lambda: StudentConfig(kind="bert", dim=384, layers=6, heads=12))
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(optimizer=OptimizerConfig(lr=5e-4, table_lr=5e-4, weight_decay=0.01))
    )

    def __post_init__(self) -> None:
        if not self.data and not self.texts:
            raise UserError("no corpus was named: give --data (pairs) or --texts at least one file or folder")
        if self.batch < 1 or not 0 <= self.tlm <= 1:
            raise UserError(f"batch must be at least 1 and tlm a share, got {self.batch} and {self.tlm}")
        if self.max_tokens < 8:
            raise UserError(f"max_tokens must be at least 8 to hold a pair, got {self.max_tokens}")
        if any(steps < 1 for steps in self.stacking):
            raise UserError(f"stacking holds numbers of steps, at least 1 each; got {self.stacking}")
        if self.stacking and self.model is not None:
            raise UserError("stacking makes a new model from shallow to deep: leave out `model`, or `stacking`")
        if self.corpus.companions or self.student.bits:
            raise UserError("corpus.companions and student.bits belong to distillation: leave them out")
        if self.model is None:
            self._check_new()

    def _check_new(self) -> None:
        if self.student.kind not in ("bert", "electra") or self.student.start != "random":
            raise UserError("a new model is a transformer with random weights: student.kind bert or electra")
        if self.vocabulary.kind == "teacher":
            raise UserError("vocabulary.kind is 'teacher', and there is none: take unigram or wordpiece, or `model`")
        if self.student.max_tokens < self.max_tokens:
            raise UserError(
                f"max_tokens is {self.max_tokens}, but student.max_tokens, the positions that the model has, is "
                f"{self.student.max_tokens}"
            )

    @property
    def work_folder(self) -> Path:
        """Where the stages lie."""
        return Path(self.work) if self.work else Path(self.out.rstrip("/") + ".work")


def run(cfg: PretrainConfig) -> Path:
    """Pretrain the model that `cfg` describes and return its folder; stages that are there already are reused.

    Started by `torchrun`, every rank calls this: the first prepares the data and writes, the others wait for it.
    """
    # Here and not above: the command line reads PretrainConfig before anything needs torch.
    from compact_labse.compress.model_files import model_folder
    from compact_labse.training import ranks
    from compact_labse.training.stacking import depths

    check_out(Path(cfg.out), cfg.overwrite, cfg.model)
    depths(cfg.student.layers, 1 + len(cfg.stacking))
    if cfg.model is not None:
        cfg = replace(cfg, model=str(model_folder(cfg.model, cfg.max_tokens)))
    with ranks.together(cfg.loop.torch_device(), cfg.timeout_s):
        if cfg.batch % ranks.world():
            raise UserError(f"batch {cfg.batch} must divide evenly among {ranks.world()} ranks")
        with alone_in(cfg.work_folder) if ranks.is_first() else nullcontext():
            return _pretrain(cfg)


def _pretrain(cfg: PretrainConfig) -> Path:
    from compact_labse.training import ranks

    sources = find_sources(cfg.data, None, PAIR_KINDS) if cfg.data else []
    texts = find_sources(cfg.texts, None, TEXT_KINDS) if cfg.texts else []
    files = [source.name for source in [*sources, *texts]]
    start = {"model": model_hash(Path(cfg.model))} if cfg.model else {}
    pairs, tokens, tokenizer, key = ranks.after_first(lambda: _prepare(cfg, sources, texts, start))
    task = _task(cfg, pairs, tokens, files, tokenizer)
    # An empty list decides nothing.
    decides = {name: value for name, value in asdict(cfg).items() if name not in UNDECISIVE and value != []}
    steps = _train(cfg, task, tokenizer, hash_of([decides, start, *key]))
    if ranks.is_first():
        _save(cfg, task.model, tokenizer, files, start, steps)
    return Path(cfg.out)


def _prepare(
    cfg: PretrainConfig, sources: list[Source], texts: list[Source], start: dict[str, str]
) -> tuple[Pairs, Path, Tokenizer, tuple[str, str]]:
    """Pairs, the folder of their tokens, the tokenizer, and the keys of pairs and vocabulary: each made once."""
    import numpy as np

    from compact_labse import prepare
    from compact_labse.tokens import Tokens
    from compact_labse.vocabulary import bare

    work, files = cfg.work_folder, [source.name for source in [*sources, *texts]]
    pairs, pairs_key = prepare.prepare_pairs(sources, texts, cfg.corpus, work / "pairs")
    trained_on = {"vocabulary": asdict(cfg.vocabulary), "weights": cfg.corpus.weights, "pairs": pairs_key}
    tokenizer, vocabulary_key = prepare.prepare_vocabulary(
        cfg.vocabulary,
        bare(Tokens.from_folder(Path(cfg.model)).tokenizer) if cfg.model else None,
        work / "vocabulary",
        pairs=pairs,
        weight_F=np.array([cfg.corpus.weight_of(file) for file in files]),
        seed=cfg.loop.seed,
        depends_on=start or trained_on,
    )
    # Without special tokens: they are put around single sentences and pairs when a batch is made.
    plain = StudentConfig(kind="static", max_tokens=cfg.max_tokens)
    tokens = prepare.prepare_tokens(pairs, tokenizer, plain, [pairs_key, vocabulary_key], work / "tokens")
    return pairs, tokens, tokenizer, (pairs_key, vocabulary_key)


def _task(cfg: PretrainConfig, pairs: Any, tokens: Path, files: list[str], tokenizer: Tokenizer) -> Any:
    """What the loop trains, as yet without a model."""
    from compact_labse.training import ranks
    from compact_labse.training.masking import pieces_of
    from compact_labse.training.mlm import MaskedLM
    from compact_labse.training.mlm_rows import Draws, frame_of

    return MaskedLM(
        pairs,
        tokens,
        pieces=pieces_of(tokenizer),
        frame=frame_of(tokenizer.encode("", add_special_tokens=True).ids, cfg.max_tokens),
        masking=cfg.masking,
        draws=Draws(pairs, files, cfg.corpus, batch=cfg.batch, tlm=cfg.tlm, seed=cfg.loop.seed),
        seed=cfg.loop.seed,
        device=ranks.own_device(cfg.loop.torch_device()),
    )


def _train(cfg: PretrainConfig, task: Any, tokenizer: Tokenizer, key: str) -> int:
    """Train every stage; gives the steps of the last, whose model stays in the task."""
    import torch

    from compact_labse.tokens import Tokens
    from compact_labse.training import ranks
    from compact_labse.training.loop import train
    from compact_labse.training.mlm_model import open_masked_model
    from compact_labse.training.stacking import depths

    size, pad_id = tokenizer.get_vocab_size(with_added_tokens=True), Tokens(tokenizer).pad_id
    if cfg.model is not None:
        task.use(open_masked_model(Path(cfg.model), cfg.loop.seed))
        if len(task.model.table) < size:
            raise UserError(f"{cfg.model}: the tokenizer has {size} pieces, the table {len(task.model.table)} rows")
    stages = zip(depths(cfg.student.layers, 1 + len(cfg.stacking)), [*cfg.stacking, cfg.loop.steps], strict=True)
    for stage, (layers, steps) in enumerate(stages):
        if cfg.model is None:
            _deepen(cfg, task, layers, size, pad_id)
        loop = cfg.loop if stage == len(cfg.stacking) else replace(cfg.loop, steps=steps, max_minutes=None)
        ranks.say_first(f"stage {stage + 1} of {1 + len(cfg.stacking)}: {task.model.config.num_hidden_layers} layers")
        torch.manual_seed(cfg.loop.seed + ranks.rank())  # each rank drops other activations
        folder = cfg.work_folder / (f"training-{stage + 1}" if stage < len(cfg.stacking) else "training")
        progress = train(task, loop, folder, key=hash_of([key, stage]), replace=cfg.overwrite)
        task.first += progress.step * cfg.loop.accumulation
    return progress.step


def _deepen(cfg: PretrainConfig, task: Any, layers: int, vocab_size: int, pad_id: int) -> None:
    """Give the task a model of so many layers: new, or made of the shallower one that it has trained."""
    from compact_labse.training.mlm_model import new_masked_model
    from compact_labse.training.stacking import stacked

    deeper = new_masked_model(cfg.student, layers, vocab_size, pad_id, cfg.loop.seed)
    if task.model is not None:
        deeper.load_state_dict(stacked({name: tensor.cpu() for name, tensor in task.model.state_dict().items()}))
    task.use(deeper)


def _save(
    cfg: PretrainConfig, model: Any, tokenizer: Tokenizer, files: list[str], start: dict[str, str], steps: int
) -> None:
    from compact_labse.students.saving import save_tokenizer
    from compact_labse.training.mlm_model import copy_tokenizer

    with writing_folder(Path(cfg.out), overwrite=cfg.overwrite) as folder:
        model.save(folder)
        if cfg.model is not None:
            copy_tokenizer(Path(cfg.model), folder)
        else:
            save_tokenizer(tokenizer, cfg.student.max_tokens, folder)
        (folder / "config.yaml").write_text(as_yaml(cfg), encoding="utf-8")
        write_lineage(folder, command="pretrain", config=asdict(cfg), inputs=file_hashes(files) | start)
    say(f"{steps} steps, saved in {cfg.out}: `compact-labse train --model {cfg.out} --pooling mean` goes on from it")
