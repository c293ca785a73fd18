"""Models of other frameworks as model folders; vectors are compared with the source's.

What can be read: TF1 and TF2 checkpoints of BERT, SavedModel encoders of TF Hub's kind, plain transformers folders.
Shapes: N texts, D dimension, H hidden size.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from compact_labse.conversion.modules import copy_dense, write_json, write_modules
from compact_labse.errors import UserError, require
from compact_labse.folder import sha256_file, write_lineage, writing_folder
from compact_labse.progress import say
from compact_labse.settings import read_json

if TYPE_CHECKING:
    from compact_labse.conversion.bert_checkpoint import Bert

POOLINGS = ("cls", "mean", "max", "pooler")


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What to convert.

    `pooling` makes a sentence vector of the tokens': the first one ("cls"), their mean or maximum, or BERT's pooler, a
    dense layer with tanh on the first, as in LaBSE ("pooler"). `vocab_file` is needed where the source has none;
    `do_lower_case` is guessed from its name as `export_tfhub` does. `config` is a bert_config.json or YAML.
    """

    source: Path
    out: Path
    pooling: str | None = None
    vocab_file: Path | None = None
    do_lower_case: bool | None = None
    config: Path | None = None
    max_tokens: int | None = None
    copy_pooler: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise UserError(f"unknown pooling {self.pooling!r}, expected one of {', '.join(POOLINGS)}")


def convert(cfg: Conversion) -> Path:
    """Write `cfg.out`, a folder that sentence-transformers loads; GateError if its vectors are not the source's.

    UserError if the source is none of the kinds above, or lacks a tensor, the vocabulary or the pooling.
    """
    source = cfg.source.expanduser()
    if not source.exists() and not source.with_name(source.name + ".index").is_file():
        raise UserError(f"there is no {source}: expected a checkpoint, a SavedModel or a model folder")
    if cfg.pooling is None:
        raise UserError(f"{source} does not say how to pool: --pooling {', '.join(POOLINGS)}")
    if (source / "config.json").is_file() and not (source / "saved_model.pb").is_file():
        return _from_transformers(cfg, source)
    for library, extra in (("tensorflow", "tensorflow"), ("torch", "train"), ("safetensors", "train")):
        require(library, extra)
    from compact_labse.conversion.bert_checkpoint import read_bert
    from compact_labse.conversion.check import require_same, worst_cosine
    from compact_labse.torch_encoder import TorchEncoder

    bert = read_bert(source, cfg.config)
    if bert.ignored:
        say(f"left out: {len(bert.ignored)} tensors that are no part of the encoder, {bert.ignored[0]} first")
    vocabulary, lower = _vocabulary(cfg, source)
    _check_pieces(vocabulary, bert.config["vocab_size"], source)
    with writing_folder(cfg.out, overwrite=cfg.overwrite) as folder:
        _write(cfg, bert, vocabulary, lower, folder)
        written = TorchEncoder.open(folder, device="cpu")
        worst = worst_cosine(written, bert, source, str(cfg.pooling), copied=cfg.copy_pooler)
        require_same(worst, cfg.out, source)
        _note(cfg, source, folder, worst)
    say(f"written: {cfg.out}; worst cosine to the source {worst:.7f}")
    return cfg.out


def _vocabulary(cfg: Conversion, source: Path) -> tuple[Path, bool]:
    """The vocabulary and whether text is put in lower case, from the options or from what lies beside the source."""
    folder = source if source.is_dir() else source.parent
    places = [cfg.vocab_file, folder / "vocab.txt", *sorted(folder.glob("assets/*vocab*"))]
    found = next((place for place in places if place is not None and place.is_file()), None)
    if found is None:
        raise UserError(f"{source} has no vocab.txt beside it: --vocab-file FILE")
    lower = cfg.do_lower_case
    if lower is None and (source / "saved_model.pb").is_file():
        lower = _lower_case_of(source)
    if lower is None:
        lower = read_json(folder / "bert_config.json").get("do_lower_case")
    if lower is None:
        lower = "uncased" in str(found)
        say(
            f"warning: do_lower_case is taken to be {str(lower).lower()}, by the name of {found.name}'s path; "
            f"--do-lower-case or --no-do-lower-case says it"
        )
    return found, lower


def _check_pieces(vocabulary: Path, rows: int, source: Path) -> None:
    """UserError if the vocabulary has pieces without a row in the table; a note if rows are left over."""
    with vocabulary.open(encoding="utf-8", newline="\n") as lines:
        pieces = sum(1 for _ in lines)
    found = f"{vocabulary} has {pieces:,} pieces, the table of {source} {rows:,} rows"
    if pieces > rows:
        raise UserError(f"{found}: it is another model's vocabulary; --vocab-file FILE names this one's")
    if pieces < rows:
        say(f"note: {found}; those that are left over belong to no piece")


def _lower_case_of(source: Path) -> bool | None:
    from compact_labse.saved_model_encoder import load_graph

    found = getattr(load_graph(source), "do_lower_case", None)
    return None if found is None else bool(found.numpy())


def _write(cfg: Conversion, bert: Bert, vocabulary: Path, lower: bool, folder: Path) -> None:
    """The model folder: weights, settings, tokenizer and modules."""
    from safetensors.numpy import save_file
    from tokenizers.implementations import BertWordPieceTokenizer

    from compact_labse.conversion.bert_names import to_transformers

    weights = dict(bert.weights)
    if cfg.copy_pooler or ("pooler.kernel" not in weights and cfg.pooling == "pooler"):
        if "pretrainer_pooler.kernel" not in weights:
            raise UserError(f"{cfg.source} has no pooler: neither the encoder nor a next-sentence head has one")
        weights |= {f"pooler.{end}": weights[f"pretrainer_pooler.{end}"] for end in ("kernel", "bias")}
    save_file(to_transformers(weights), folder / "model.safetensors", metadata={"format": "pt"})
    write_json(folder / "config.json", {"architectures": ["BertModel"], "model_type": "bert", **bert.config})
    limit = min(cfg.max_tokens or bert.config["max_position_embeddings"], bert.config["max_position_embeddings"])
    tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=lower)._tokenizer
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    shutil.copyfile(vocabulary, folder / "vocab.txt")
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "model_max_length": limit, **names}
    write_json(folder / "tokenizer_config.json", settings)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
    size = bert.config["hidden_size"]
    write_modules(folder, "cls" if cfg.pooling == "pooler" else str(cfg.pooling), size, dense=cfg.pooling == "pooler")
    if cfg.pooling == "pooler":
        dense = {
            "linear.weight": np.ascontiguousarray(weights["pooler.kernel"].T),
            "linear.bias": weights["pooler.bias"],
        }
        save_file(dense, folder / "2_Dense" / "model.safetensors", metadata={"format": "pt"})


def _from_transformers(cfg: Conversion, source: Path) -> Path:
    """A plain transformers folder with the modules around it that its pooling needs."""
    from compact_labse.conversion.check import batch_of, require_same, with_pooler
    from compact_labse.formats.gates.agreement import cosines
    from compact_labse.torch_encoder import TorchEncoder

    if (source / "modules.json").is_file():
        raise UserError(f"{source} is a sentence-transformers folder already: --to-tf2 DIR writes it as a checkpoint")
    dense = cfg.pooling == "pooler"
    mode = "cls" if dense else str(cfg.pooling)
    before = TorchEncoder.open(source, pooling=mode, device="cpu")
    with writing_folder(cfg.out, overwrite=cfg.overwrite) as folder:
        for path in sorted(source.iterdir()):
            if path.is_file() and path.suffix in (".json", ".txt", ".model", ".safetensors") and path.name[0] != ".":
                shutil.copyfile(path, folder / path.name)
        write_modules(folder, mode, before.module.body.dim, dense=dense)
        if dense:
            copy_dense(source, folder)
        after, batch = TorchEncoder.open(folder, device="cpu"), batch_of(before.tokens)
        expected = with_pooler(source, batch) if dense else before.forward(*batch)
        worst = require_same(float(cosines(expected, after.forward(*batch)).min()), cfg.out, source)
        _note(cfg, source, folder, float(worst))
    say(f"written: {cfg.out}; worst cosine to the source {worst:.7f}")
    return cfg.out


def _note(cfg: Conversion, source: Path, folder: Path, worst: float) -> None:
    from compact_labse.formats.artifacts import parts

    files = [source] if source.is_file() else parts(source) if source.is_dir() else []
    if not files:
        files = sorted(source.parent.glob(f"{source.name}.*"))
    inputs = {file.name: sha256_file(file) for file in files}
    write_lineage(folder, command="convert", config=asdict(cfg) | {"worst_cosine": worst}, inputs=inputs)
