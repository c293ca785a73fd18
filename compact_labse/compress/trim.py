"""Trim a model's vocabulary: the same model with fewer pieces, whose text is cut as before wherever no piece is gone.

Reads the model from disk in blocks and needs no PyTorch to run. Shapes: V pieces, K pieces kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compact_labse.compress.coverage import Coverage, measure_coverage
from compact_labse.compress.cuts import Cut, compare_cuts
from compact_labse.compress.model_files import body_path, copy_rest, model_folder, weights_of, write_index
from compact_labse.compress.pieces import Pieces
from compact_labse.compress.tensors import copy_rows, read_header, vocabulary_tensors
from compact_labse.compress.vocabulary import Choice, choose, trimmed
from compact_labse.corpus.files import content_hashes
from compact_labse.errors import UserError
from compact_labse.folder import check_out, model_hash, write_lineage, writing_folder
from compact_labse.progress import say
from compact_labse.settings import read_json
from compact_labse.tokens import Tokens

TOKENIZER = "tokenizer.json"
WRITTEN = (
    TOKENIZER,
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True, kw_only=True)
class Trim:
    """What to trim.

    Args:
        model: Name or folder of the model.
        out: Folder that is written.
        languages: Languages whose text counts: of the embedded sample, and of the corpus. Empty: all of the corpus's.
        corpus: Files, folders or globs of text; pairs named like en-de.tsv.gz tell their languages.
        max_tokens: Most pieces that are kept.
        overwrite: Replace `out`.
    """

    model: str
    out: Path
    languages: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()
    max_tokens: int | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.languages and not self.corpus:
            raise UserError("which text must the vocabulary serve? give --languages de,th, --corpus FILES, or both")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UserError(f"--max-tokens must be at least 1, got {self.max_tokens}")


@dataclass(frozen=True, kw_only=True)
class Trimmed:
    """What trimming did. `bytes_before` and `bytes_after` are those of the weights."""

    pieces_before: int
    pieces_after: int
    bytes_before: int
    bytes_after: int
    reasons: dict[str, int]
    languages: dict[str, Cut]


def trim(cfg: Trim) -> Trimmed:
    """Write the trimmed model folder and say what changed; the folder appears whole or not at all."""
    folder = model_folder(cfg.model)
    check_out(Path(cfg.out), cfg.overwrite, folder)
    path = body_path(folder)
    body = folder / path
    content = _tokenizer_content(body)
    pieces = Pieces(content, str(body / TOKENIZER))
    headers = {file: read_header(file)[0] for file in weights_of(body)}
    rows, names = vocabulary_tensors(headers)
    if len(pieces.by_id) > rows:
        raise UserError(
            f"{body}: the tokenizer has {len(pieces.by_id):,} pieces, but the table only {rows:,} rows; "
            f"are they of the same model?"
        )
    old = Tokens.from_folder(body, special=False)
    old.tokenizer.no_truncation()
    coverage = measure_coverage(old.tokenizer, old.unk_id, cfg.languages, cfg.corpus)
    _say_basis(coverage)
    choice = choose(pieces, old.tokenizer, coverage, _named_ids(body, rows), cfg.max_tokens)
    with writing_folder(cfg.out, overwrite=cfg.overwrite) as new:
        left = copy_rest(folder, new, path, WRITTEN)
        _write_tokenizer(body, new / path, trimmed(pieces, choice.kept_K), choice.kept_K)
        for file in headers:
            copy_rows(file, new / path / file.name, choice.kept_K, names)
        write_index(body, new / path)
        after = Tokens.from_folder(new / path, special=False)
        cuts = compare_cuts(old.tokenizer, after.tokenizer, choice, coverage, old.unk_id)
        done = _summary(pieces, choice, headers, new / path, cuts)
        write_lineage(new, command="trim", config=asdict(cfg) | {"result": asdict(done)}, inputs=_inputs(cfg, folder))
    for name in left:
        say(f"left out: {name} (it holds the old pieces; tokenizer.json has the new ones)")
    return done


def _tokenizer_content(body: Path) -> dict[str, Any]:
    """What `tokenizer.json` says, or would say of a lone `vocab.txt`."""
    if (body / TOKENIZER).is_file():
        return read_json(body / TOKENIZER)
    if (body / "vocab.txt").is_file():
        return dict(json.loads(Tokens.from_folder(body, special=False).tokenizer.to_str()))
    raise UserError(
        f"{body} has no tokenizer.json: write it with transformers, AutoTokenizer.from_pretrained(folder)"
        f".save_pretrained(folder), and trim again"
    )


def _named_ids(body: Path, rows: int) -> set[int]:
    """Ids that the configurations name. Families that count positions from the padding's id keep all ids up to it."""
    config = read_json(body / "config.json")
    found: set[int] = set()
    for source in (config, read_json(body / "generation_config.json")):
        for key, value in source.items():
            if key.endswith("_token_id"):
                found |= {n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int)}
    settings = read_json(body / "tokenizer_config.json")
    found |= {int(number) for number in settings.get("added_tokens_decoder") or {}}
    pad = config.get("pad_token_id")
    found |= set(range(pad + 1)) if isinstance(pad, int) and pad >= 0 else set()
    return {number for number in found if number < rows}


def _write_tokenizer(body: Path, new: Path, content: dict[str, Any], kept_K: np.ndarray) -> None:
    """`tokenizer.json`, and every file beside it that holds pieces or ids."""
    to = {int(old): place for place, old in enumerate(kept_K)}
    new.mkdir(parents=True, exist_ok=True)
    _json(new / TOKENIZER, content, indent=None)
    for name in ("config.json", "generation_config.json"):
        if (body / name).is_file():
            _json(new / name, _renumbered(read_json(body / name), to, len(kept_K)))
    if (body / "tokenizer_config.json").is_file():
        settings = read_json(body / "tokenizer_config.json")
        if settings.get("added_tokens_decoder"):
            added = settings["added_tokens_decoder"].items()
            settings["added_tokens_decoder"] = {str(to[int(n)]): token for n, token in added if int(n) in to}
        _json(new / "tokenizer_config.json", settings)
    for name in ("added_tokens.json", "vocab.json"):
        if (body / name).is_file():
            _json(new / name, {piece: to[n] for piece, n in read_json(body / name).items() if n in to})
    if (body / "vocab.txt").is_file():
        lines = (body / "vocab.txt").read_text(encoding="utf-8").split("\n")
        kept = [lines[number] for number in kept_K if number < len(lines)]
        (new / "vocab.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
    if (body / "merges.txt").is_file():
        pairs = [" ".join(pair) for pair in content["model"].get("merges", [])]
        (new / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8")


def _renumbered(config: Mapping[str, Any], to: Mapping[int, int], size: int) -> dict[str, Any]:
    found = dict(config)
    for key, value in config.items():
        if key == "vocab_size":
            found[key] = size
        elif key.endswith("_token_id") and isinstance(value, int):
            found[key] = to.get(value, value)
        elif key.endswith("_token_id") and isinstance(value, list):
            found[key] = [to.get(number, number) for number in value]
    return found


def _say_basis(coverage: Mapping[str, Coverage]) -> None:
    """What decides: counts of a corpus, or the sample, of which only the letters say enough."""
    alone = [c.language for c in coverage.values() if c.alone]
    counted = [f"{c.language} {c.texts:,}" for c in coverage.values() if not c.alone]
    if counted:
        say(f"pieces by their use in text of --corpus (texts: {', '.join(counted)})")
    if alone:
        say(
            f"{', '.join(alone)}: only the embedded sample (240 sentences each), which shows letters, not words: "
            f"pieces in these letters stay; give --corpus to keep only what text uses"
        )


def _summary(pieces: Pieces, choice: Choice, headers: Mapping[Path, Any], new: Path, cuts: dict[str, Cut]) -> Trimmed:
    return Trimmed(
        pieces_before=len(pieces.by_id),
        pieces_after=len(choice.kept_K),
        bytes_before=sum(file.stat().st_size for file in headers),
        bytes_after=sum((new / file.name).stat().st_size for file in headers),
        reasons=choice.reasons,
        languages=cuts,
    )


def _inputs(cfg: Trim, folder: Path) -> dict[str, str]:
    return {cfg.model: model_hash(folder), **content_hashes(cfg.corpus)}


def _json(path: Path, content: Any, indent: int | None = 2) -> None:
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, ensure_ascii=False, separators=separators)
    path.write_text(text + "\n", encoding="utf-8")
