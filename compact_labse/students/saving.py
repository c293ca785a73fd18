"""Write a student as a sentence-transformers folder that its peers load without our code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers.utils import logging as transformers_logging

from compact_labse.formats.contract import RANGES
from compact_labse.students.static import StaticStudent
from compact_labse.students.transformer import TransformerStudent
from compact_labse.students.whole import FolderStudent

# The names that every release since 3.2 resolves; newer releases write longer ones, which older ones do not know.
MODULE = "sentence_transformers.models."
POOLINGS = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def save_student(student: StaticStudent | TransformerStudent, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the student's weights, configuration and tokenizer into the existing folder `folder`.

    A static student's table is saved as `table()` gives it, whatever it was computed from while training; a transformer
    that was trained in 4 bits gets the values that these hold. The caller makes the folder appear atomically
    (`folder.writing_folder`).
    """
    folder = Path(folder)
    rounding = getattr(student, "rounding", None)
    if rounding is not None:
        rounding.keep_values()
        if ranges := rounding.ranges():
            _write_json(folder / RANGES, ranges)
    if isinstance(student, FolderStudent):
        with no_bar():
            student.save(folder)
        return
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if isinstance(student, StaticStudent):
        modules = _save_static(student, tokenizer, folder)
    else:
        modules = _save_transformer(student, tokenizer, folder)
    _write_json(
        folder / "modules.json",
        [
            {"idx": i, "name": str(i), "path": path, "type": MODULE + name}
            for i, (name, path) in enumerate(modules.items())
        ],
    )
    _write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
    )
    for path in modules.values():
        (folder / path).mkdir(exist_ok=True)


def _save_static(student: StaticStudent, tokenizer: Tokenizer, folder: Path) -> dict[str, str]:
    table_VD = student.table().detach().float().cpu().contiguous()
    save_file({"embedding.weight": table_VD}, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return {"StaticEmbedding": "", "Normalize": "1_Normalize"}


def _save_transformer(student: TransformerStudent, tokenizer: Tokenizer, folder: Path) -> dict[str, str]:
    with no_bar():
        student.model.save_pretrained(folder)
    save_tokenizer(tokenizer, student.config.max_tokens, folder)
    _write_json(
        folder / "sentence_bert_config.json", {"max_seq_length": student.config.max_tokens, "do_lower_case": False}
    )
    pooling = folder / "1_Pooling"
    pooling.mkdir(exist_ok=True)
    modes = {f"pooling_mode_{name}": name == "mean_tokens" for name in POOLINGS}
    _write_json(pooling / "config.json", {"word_embedding_dimension": student.dim, **modes})
    return {"Transformer": "", "Pooling": "1_Pooling", "Normalize": "2_Normalize"}


def save_tokenizer(tokenizer: Tokenizer, max_tokens: int, folder: Path) -> None:
    """`tokenizer.json`, the settings that `AutoTokenizer` needs, and `vocab.txt` where it is a WordPiece."""
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    known = {key: token for key, token in names.items() if tokenizer.token_to_id(token) is not None}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens, **known}
    _write_json(folder / "tokenizer_config.json", settings)
    _write_json(folder / "special_tokens_map.json", known)
    if json.loads(tokenizer.to_str())["model"]["type"] == "WordPiece":
        by_id = sorted((number, token) for token, number in tokenizer.get_vocab().items())
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for _, token in by_id), encoding="utf-8")


@contextmanager
def no_bar() -> Iterator[None]:
    """Without transformers' progress bar, which comes and goes in a moment for models of this size."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
