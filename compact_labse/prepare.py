"""The stages before training, each a folder: corpus -> pairs -> vocabulary -> tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.corpus.account import Account
from compact_labse.corpus.files import Source
from compact_labse.encoder import Encoder
from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.gather import CorpusConfig, read_records
from compact_labse.pairs import Pairs, note_counts, sampled_texts, write_pairs, write_tokens
from compact_labse.progress import say
from compact_labse.stages import stage
from compact_labse.students import StudentConfig
from compact_labse.tokens import Tokens
from compact_labse.vocabulary import VocabularyConfig, bare, train_vocabulary


def prepare_pairs(sources: Sequence[Source], config: CorpusConfig, folder: Path) -> tuple[Pairs, str]:
    """The usable pairs of some files, stored in `folder`, and the key that changes when they do."""

    def build(temporary: Path) -> dict[str, Any]:
        account = Account()
        facts = write_pairs(read_records(sources, config, account), config, temporary)
        for line in account.lines():
            say(line)
        return facts

    # How pairs are drawn is not stored with them.
    stored = replace(config, temperature=1, weights={})
    states = [[source.name, *_state(source.name)] for source in sources]
    manifest = stage(folder, "pairs", {"corpus": asdict(stored), "files": states}, build)
    note_counts(manifest["facts"])
    return Pairs(folder), manifest["key"]


def prepare_vocabulary(
    config: VocabularyConfig,
    start: str,
    teacher: Encoder | None,
    folder: Path,
    *,
    pairs: Pairs,
    pairs_key: str,
    weights: dict[str, float],
    weight_F: np.ndarray,
    teacher_name: str | None,
    seed: int,
) -> tuple[Tokenizer, str]:
    """The student's tokenizer, stored in `folder`, and the key that changes when it does.

    It is that of the static student in the folder `start`, or the teacher's, or trained on the pairs, of which each
    file's are taken by its weight (`weight_F`).
    """

    def build(temporary: Path) -> dict[str, Any]:
        tokenizer = _given(config, start, teacher)
        if tokenizer is None:
            tokenizer = train_vocabulary(sampled_texts(pairs, config.texts, config.temperature, seed, weight_F), config)
        tokenizer.save(str(temporary / "tokenizer.json"))
        return {"pieces": tokenizer.get_vocab_size(with_added_tokens=True)}

    depends: dict[str, Any] = {
        "vocabulary": asdict(config),
        "weights": weights,
        "pairs": pairs_key,
        "teacher": teacher_name,
    }
    if Path(start).is_dir():
        depends = {"start": model_hash(Path(start))}
    manifest = stage(folder, "vocabulary", depends, build)
    return Tokenizer.from_file(str(folder / "tokenizer.json")), manifest["key"]


def prepare_tokens(pairs: Pairs, tokenizer: Tokenizer, config: StudentConfig, keys: list[str], folder: Path) -> Path:
    """The pairs' token ids, stored in `folder`; `keys` are those of the pairs and the vocabulary."""

    def build(temporary: Path) -> dict[str, Any]:
        return write_tokens(pairs, tokenizer, config.max_tokens, config.special, temporary)

    stage(folder, "tokens", {"keys": keys, "max_tokens": config.max_tokens, "special": config.special}, build)
    return folder


def _given(config: VocabularyConfig, start: str, teacher: Encoder | None) -> Tokenizer | None:
    if start not in ("random", "teacher"):
        if not Path(start).is_dir():
            raise UserError(f"student.start is {start!r}: neither random, teacher nor a folder that exists")
        return bare(Tokens.from_folder(Path(start)).tokenizer)
    if config.kind != "teacher":
        return None
    if teacher is None:
        raise UserError("vocabulary.kind is 'teacher', but no teacher was given")
    return bare(teacher.tokens.tokenizer)


def _state(file: str) -> list[int]:
    """Size and time of change, which tell whether a file is still the same without reading it."""
    status = Path(file).stat() if Path(file).is_file() else None
    return [status.st_size, status.st_mtime_ns] if status else []
