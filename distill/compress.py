"""Compress a model under a budget: text -> trimmed models -> predictions -> looks -> training -> artifact and evidence.

Every step is a folder in `<out>.work/`, named after the hash of what it depends on, so that a run that was interrupted
or killed goes on where it was. Nothing is trained for a candidate whose predicted size or time is beyond the budget.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_labse.compress.budget import Budget
from compact_labse.errors import GateError, UserError, require
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say
from compact_labse.stages import alone_in

if TYPE_CHECKING:
    from compact_labse.compress.candidates import Candidate
    from compact_labse.compress.evidence import Row
    from compact_labse.compress.workbench import Workbench

NEEDED = {"torch": "train", "transformers": "train", "onnx": "onnx", "onnxscript": "onnx", "optuna": "compress"}
AIMS = "vectors"  # what healing learns: part of the names of healed models
RECIPE = {"int8": "rows", "int4": "rows"}  # the fastest, whose bytes the prediction knows


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """What to compress, and how far.

    Args:
        model: Name or folder of the model; the ONNX file of a static model will do.
        out: Folder that is written.
        data: Files of text or pairs: to choose and train on, and a part held out to judge on.
        languages: Languages to keep; with none, those of the text.
        corpus: Text that decides which pieces stay; the training part of `data` if there is none.
        max_size: Most bytes of model and tokenizer; None for no limit.
        max_latency: Most milliseconds for one sentence of 20 tokens on one thread; None for no limit.
        min_quality: Least share of the original's figures.
        evaluation: Folder of evaluation data as `eval --data` takes it, to judge on instead of held-out text; of it,
            what is in `languages`.
        minutes: Of training, for each candidate that is trained.
        looks: Candidates that are made and judged before training.
        trained: The best of them that are trained, until one meets the budget.
        seed: Of the search and of training.
        overwrite: Replace `out`.
    """

    model: str
    out: Path
    data: tuple[str, ...]
    languages: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()
    max_size: int | None = None
    max_latency: float | None = None
    min_quality: float = 0.98
    evaluation: Path | None = None
    minutes: float = 3.0
    looks: int = 12
    trained: int = 3
    seed: int = 0
    overwrite: bool = False

    def __post_init__(self) -> None:
        self.budget  # noqa: B018  its limits are checked
        if not self.data:
            raise UserError("no text was named: give --data at least one file")
        for name in ("minutes", "looks", "trained"):
            if getattr(self, name) <= 0:
                raise UserError(f"--{name} must be above 0, got {getattr(self, name)}")

    @property
    def budget(self) -> Budget:
        """The limits."""
        return Budget(max_size=self.max_size, max_latency=self.max_latency, min_quality=self.min_quality)

    @property
    def work(self) -> Path:
        """Where the steps lie."""
        return self.out.parent / f"{self.out.name}.work"


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What came of it. `met` says whether the chosen artifact is within all limits; `steps` are as in the evidence."""

    met: bool
    chosen: Row
    rows: list[Row]
    steps: list[dict[str, Any]]


def run(cfg: CompressConfig) -> Compressed:
    """Write the best artifact within the budget, else the nearest to it, with the front and the evidence.

    UserError, before any training, if no candidate can be small and fast enough; GateError if exports fail their gates.
    """
    for library, extra in NEEDED.items():
        require(library, extra)
    from compact_labse.folder import check_out
    from compact_labse.locate import locate

    check_out(cfg.out, cfg.overwrite, locate(cfg.model))
    with alone_in(cfg.work):
        return _compress(cfg)


def _compress(cfg: CompressConfig) -> Compressed:
    from compact_labse.compress import evidence
    from compact_labse.compress.attribution import attribution
    from compact_labse.compress.result import write_result
    from compact_labse.compress.search import Search
    from compact_labse.measure.pages.report import print_table

    show = partial(print_table, file=sys.stderr)  # where progress goes
    bench = prepare(cfg)
    bench.refuse_impossible()
    rows: list[Row] = []
    looked: list[Row] = []
    for row in bench.looks(Search(bench.space, cfg.budget, cfg.seed), cfg.looks, rows):
        looked.append(row)
        show(evidence.front_table(rows, f"Pareto front after {len(looked)} looks"))
    if not looked:
        raise UserError(
            f"none of {len(rows)} candidates fits {cfg.budget}: raise a limit a little, or try another --seed"
        )
    done: list[Row] = []
    for row in sorted(looked, key=lambda row: (-(row.look or 0), row.predicted["bytes"]))[: cfg.trained]:
        say(f"training and exporting {row.candidate.title}")
        bench.train(row)
        done += [row] if row.quality is not None else []
        show(evidence.front_table(rows, "Pareto front"))
        if row.meets(cfg.budget):
            break
    if not done:
        raise GateError(f"no candidate passed the gates of its export; the last: {row.why}")
    chosen = max(done, key=lambda row: (row.meets(cfg.budget), row.quality))
    chosen.chosen = True
    steps = attribution(bench, chosen)
    write_result(bench, rows, steps, cfg.out, asdict(cfg), overwrite=cfg.overwrite)
    return Compressed(met=chosen.meets(cfg.budget), chosen=chosen, rows=rows, steps=steps)


def prepare(cfg: CompressConfig) -> Workbench:
    """The text, the original, and its trimmed copies; nothing here takes long."""
    from compact_labse import load, sample
    from compact_labse.compress import held_out, steps
    from compact_labse.compress.candidates import space_of
    from compact_labse.compress.predict import Shapes
    from compact_labse.compress.quality import Judge
    from compact_labse.compress.workbench import Workbench
    from compact_labse.corpus.files import content_hashes
    from compact_labse.formats.onnx.graph import bag_of_tokens
    from compact_labse.measure.quality.datasets import find
    from compact_labse.measure.results import Results
    from compact_labse.stages import hash_of
    from compact_labse.torch_encoder import TorchEncoder

    datasets = [] if cfg.evaluation is None else held_out.in_languages(find(cfg.evaluation), cfg.languages)
    encoder = load(cfg.model, threads=1, device=None if str(cfg.model).endswith(".onnx") else "cpu")
    model = steps.original(cfg.work, cfg.model, encoder)
    depends = {"files": content_hashes(cfg.data), "seed": cfg.seed}
    split = steps.step(cfg.work, "text", depends, lambda folder: held_out.split(cfg.data, folder, cfg.seed))
    texts = held_out.files(split.model, held_out.TRAIN)
    named = {code for path in texts if path.suffix == ".tsv" for code in path.stem.split("-")}
    languages = [code for code in cfg.languages or sorted(named) if code in sample.LANGUAGES]
    data, corpus = hash_of(depends), list(map(Path, cfg.corpus)) or texts
    levels = steps.vocabularies(cfg.work, model, cfg.languages, corpus, hash_of([data, content_hashes(cfg.corpus)]))
    whole = encoder if isinstance(encoder, TorchEncoder) else TorchEncoder.open(model, device="cpu", threads=1)
    sources = {
        pieces: whole if level.model == model else TorchEncoder.open(level.model, device="cpu", threads=1)
        for pieces, level in levels.items()
    }
    judge = Judge(
        Results(cfg.work / "results.jsonl"), encoder, cfg.model, datasets or held_out.judged_on(split.model, encoder)
    )
    training = {"text": data, "teacher": judge.original[0].hash, "minutes": cfg.minutes, "seed": cfg.seed, "aims": AIMS}
    return Workbench(
        work=cfg.work,
        space=space_of(whole.module, list(levels), bag_of_tokens(whole.module) is not None),
        budget=cfg.budget,
        levels=levels,
        whole=Shapes(whole, languages),
        shapes={pieces: Shapes(source, languages) for pieces, source in sources.items()},
        judge=judge,
        texts=texts,
        data=data,
        spoken=held_out.lines(texts),
        languages=languages,
        training=training,
        heal=lambda source, out, work, one: heal(cfg, texts, source, out, work, one),
        export=lambda source, out, bits: export(source, out, bits, languages),
    )


def heal(cfg: CompressConfig, texts: Sequence[Path], source: Path, out: Path, work: Path, one: Candidate) -> None:
    """Distil the original into a model that was cut: its vectors of the text, and of pairs the finding as well."""
    from compact_labse.compress.candidates import TABLE_BITS
    from compact_labse.corpus.cleaning import Cleaning
    from compact_labse.gather import CorpusConfig
    from compact_labse.students import StudentConfig
    from compact_labse.training.loop_config import LoopConfig
    from compact_labse.training.objectives_config import ObjectivesConfig
    from compact_labse.training.schedule import OptimizerConfig

    pipeline = load_pipeline("distill", "student")
    pairs = [str(path) for path in texts if path.suffix == ".tsv"]
    if one.layers:
        student = StudentConfig(kind="folder", start=str(source), max_tokens=64)
        optimizer, batch = OptimizerConfig(lr=4e-4, table_lr=2e-4), 32
    else:
        bits = TABLE_BITS[one.bits]
        student = StudentConfig(dim=width_of(source), start=str(source), max_tokens=64, bits=bits if bits < 8 else None)
        optimizer, batch = OptimizerConfig(table_lr=1e-3), 1024
    pipeline.run(
        pipeline.DistillConfig(
            out=str(out),
            work=str(work),
            data=pairs,
            texts=[str(path) for path in texts if path.suffix != ".tsv"],
            teacher=cfg.model,
            batch=batch,
            student=student,
            corpus=CorpusConfig(cleaning=Cleaning(min_chars=2), heldout=0),
            objectives=ObjectivesConfig(ranking=1.0 if pairs else 0.0, targets="live", teacher_bf16=False),
            loop=LoopConfig(
                steps=None, max_minutes=cfg.minutes, bf16=False, device="cpu", eval_every=0, seed=cfg.seed,
                checkpoint_minutes=0.5, tensorboard=False, optimizer=optimizer,
            ),
        )
    )  # fmt: skip


def width_of(folder: Path) -> int:
    """The width of a static model's vectors."""
    from compact_labse.compress.tensors import read_header

    return int(read_header(folder / "model.safetensors")[0]["embedding.weight"].shape[1])


def export(source: Path, out: Path, bits: str, languages: Sequence[str]) -> None:
    """The ONNX artifact through its gates, in the languages that the model serves."""
    pipeline = load_pipeline("export", "onnx_export")
    settings = {"formats": (bits,), "languages": tuple(languages)}
    pipeline.run(pipeline.OnnxExport(model=str(source), out=out, recipe=RECIPE.get(bits), **settings))
