"""The stages before training, each a folder: corpus -> pairs -> vocabulary -> tokens -> targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from compact_labse.corpus.account import Account
from compact_labse.corpus.files import PAIR_KINDS, Source, find_sources
from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.gather import CorpusConfig, read_records
from compact_labse.locate import locate
from compact_labse.pairs import Pairs, note_counts, sampled_texts, write_pairs, write_tokens
from compact_labse.progress import say
from compact_labse.stages import stage
from compact_labse.students import StudentConfig
from compact_labse.tokens import Tokens
from compact_labse.training import ranks
from compact_labse.training.distillation import Targets
from compact_labse.training.objectives_config import ObjectivesConfig
from compact_labse.training.targets import LiveTargets, cache_targets
from compact_labse.vocabulary import VocabularyConfig, bare, train_vocabulary


def open_teacher(name: str, config: ObjectivesConfig, device: str, pooling: str | None) -> Encoder:
    """The teacher of that name or folder; an exported one runs as it is, on the CPU."""
    if locate(name).suffix == ".onnx":
        return load(name)
    return load(name, pooling=pooling, precision="bf16" if config.teacher_bf16 else "fp32", device=device)


def prepare_pairs(
    sources: Sequence[Source], texts: Sequence[Source], config: CorpusConfig, folder: Path
) -> tuple[Pairs, str]:
    """The usable pairs of some files, stored in `folder`, and the key that changes when they do."""

    def build(temporary: Path) -> dict[str, Any]:
        account = Account()
        facts = write_pairs(read_records(sources, texts, config, account), config, temporary)
        for line in account.lines():
            say(line)
        return facts

    stored = asdict(replace(config, temperature=1, weights={}))
    del stored["companions"]  # how pairs are drawn is not stored with them
    depends: dict[str, Any] = {"corpus": stored, "files": _states(sources)}
    if texts:
        depends["texts"] = _states(texts)
    manifest = stage(folder, "pairs", depends, build)
    note_counts(manifest["facts"])
    return Pairs(folder), manifest["key"]


def given_vocabulary(config: VocabularyConfig, start: str, teacher: Encoder | None) -> Tokenizer | None:
    """The tokenizer of the static student in the folder `start`, or the teacher's, or None if one is to be trained."""
    if start not in ("random", "teacher"):
        if not Path(start).is_dir():
            raise UserError(f"student.start is {start!r}: neither random, teacher nor a folder that exists")
        return bare(Tokens.from_folder(Path(start)).tokenizer)
    if config.kind != "teacher":
        return None
    if teacher is None:
        raise UserError("vocabulary.kind is 'teacher', but no teacher was given")
    return bare(teacher.tokens.tokenizer)


def prepare_vocabulary(
    config: VocabularyConfig,
    given: Tokenizer | None,
    folder: Path,
    *,
    pairs: Pairs,
    weight_F: np.ndarray,
    seed: int,
    depends_on: Mapping[str, Any],
) -> tuple[Tokenizer, str]:
    """The student's tokenizer, stored in `folder`, and the key that changes when it does.

    It is `given`, or trained on the pairs, of which each file's are taken by its weight (`weight_F`).
    """

    def build(temporary: Path) -> dict[str, Any]:
        tokenizer = given
        if tokenizer is None:
            texts = sampled_texts(pairs, config.texts, config.temperature, seed, weight_F)
            tokenizer = train_vocabulary(texts, config)
        tokenizer.save(str(temporary / "tokenizer.json"))
        return {"pieces": tokenizer.get_vocab_size(with_added_tokens=True)}

    manifest = stage(folder, "vocabulary", depends_on, build)
    return Tokenizer.from_file(str(folder / "tokenizer.json")), manifest["key"]


def new_vocabulary(
    config: VocabularyConfig,
    folder: Path,
    start: str,
    pairs: Pairs,
    key: str,
    files: Sequence[str],
    corpus: CorpusConfig,
    seed: int,
) -> tuple[Tokenizer, str]:
    """The tokenizer of a new model and its key: that of the static student in `start`, or trained on the pairs."""
    given = given_vocabulary(config, start, None)
    depends: dict[str, Any] = {"vocabulary": asdict(config), "weights": corpus.weights, "pairs": key}
    if given is not None:
        depends = {"start": model_hash(Path(start))}
    weight_F = np.array([corpus.weight_of(file) for file in files])
    return prepare_vocabulary(config, given, folder, pairs=pairs, weight_F=weight_F, seed=seed, depends_on=depends)


def prepare_tokens(pairs: Pairs, tokenizer: Tokenizer, config: StudentConfig, keys: list[str], folder: Path) -> Path:
    """The pairs' token ids, stored in `folder`; `keys` are those of the pairs and the vocabulary."""

    def build(temporary: Path) -> dict[str, Any]:
        return write_tokens(pairs, tokenizer, config.max_tokens, config.special, temporary)

    stage(folder, "tokens", {"keys": keys, "max_tokens": config.max_tokens, "special": config.special}, build)
    return folder


def prepare_targets(teacher: Encoder | None, pairs: Pairs, config: ObjectivesConfig, folder: Path) -> Targets | None:
    """The teacher's vectors, stored in `folder` or computed when needed; None when no objective looks at them."""
    if teacher is None or not config.needs_teacher:
        return None
    if config.targets == "live" or teacher.source is None:
        return LiveTargets(teacher, pairs)
    return cache_targets(teacher, model_hash(teacher.source), pairs, folder, config.max_targets)


def stream_states(names: Sequence[str]) -> list[list[Any]]:
    """What tells whether the files of a stream are still the same; the first rank's, whose clock counts for all."""
    return ranks.from_first(_states(find_sources(names, None, PAIR_KINDS)) if names else [])


def _states(sources: Sequence[Source]) -> list[list[Any]]:
    """Names, sizes and times of change, which tell whether files are still the same without reading them."""
    paths = [Path(source.name) for source in sources]
    states = [[path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else [] for path in paths]
    return [[source.name, *state] for source, state in zip(sources, states, strict=True)]


def start_projection(task: Any, key: str, folder: Path) -> None:
    """Let a trained student's projection to its teacher's width start as the rotation between both, computed once."""
    from safetensors.torch import load_file, save_file

    if not hasattr(task.module.projection, "weight"):
        return

    def build(temporary: Path) -> dict[str, Any]:
        temporary.mkdir(parents=True, exist_ok=True)
        found = task.rotation()
        save_file({} if found is None else {"weight": found.contiguous()}, temporary / "projection.safetensors")
        return {"rotated": found is not None}

    if stage(folder, "projection", {"key": key}, build)["facts"]["rotated"]:
        task.module.projection.weight.data.copy_(load_file(folder / "projection.safetensors")["weight"])
    else:
        say("too few texts have a target: the projection to the teacher's width starts at random")
