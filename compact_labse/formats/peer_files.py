"""Settings files that other people's loaders ask for, written into an export's folder where its model has none.

transformers.js and fastembed take no folder without `tokenizer_config.json`, transformers.js, infinity and
text-embeddings-inference none without `config.json`; a bag of tokens comes with neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder
from compact_labse.settings import UNLIMITED, read_json
from compact_labse.tokens import PAD_NAMES, UNKNOWN_NAMES

NO_LIMIT = 8192  # tokens, for readers that insist on a number
NAMES = {
    "pad_token": PAD_NAMES,
    "unk_token": UNKNOWN_NAMES,
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "mask_token": ("[MASK]", "<mask>"),
}


def write_peer_files(folder: Path, source: Encoder) -> None:
    """Complete a folder that holds `tokenizer.json`: what is there stays, but for what would give other vectors.

    Two things would: a template of special tokens that the model does not count on, and a token limit that is not the
    model's.
    """
    tokenizer = read_json(folder / "tokenizer.json", required=True)
    if (plain := plain_tokenizer(tokenizer, source)) != tokenizer:
        _write(folder / "tokenizer.json", plain)
    names = _special_tokens(tokenizer)
    settings = read_json(folder / "tokenizer_config.json") or {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    _write(folder / "tokenizer_config.json", settings | {"model_max_length": source.max_tokens or UNLIMITED})
    if not (folder / "special_tokens_map.json").is_file():
        _write(folder / "special_tokens_map.json", names)
    if not (folder / "config.json").is_file():
        _write(folder / "config.json", _bert_signature(source))


def plain_tokenizer(tokenizer: dict[str, Any], source: Encoder) -> dict[str, Any]:
    """The tokenizer such that whoever calls it without further settings gets the model's ids."""
    found = dict(tokenizer)
    if not source.tokens.special:
        # Only our own code knows to leave the template out: everyone else would average [CLS] and [SEP] in.
        found["post_processor"] = None
    if truncation := found.get("truncation"):
        found["truncation"] = truncation | {"max_length": source.max_tokens} if source.max_tokens else None
    if (padding := found.get("padding")) and padding.get("strategy") != "BatchLongest":
        found["padding"] = padding | {"strategy": "BatchLongest"}
    return found


def _bert_signature(source: Encoder) -> dict[str, Any]:
    """The type under which readers know the three inputs; no weights lie beside it, so nothing else is read from it."""
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": source.dim,
        "vocab_size": source.tokens.vocab_size,
        "pad_token_id": source.tokens.pad_id,
        "max_position_embeddings": source.max_tokens or NO_LIMIT,
    }


def _special_tokens(tokenizer: dict[str, Any]) -> dict[str, str]:
    """The names of special tokens by what they are for; those that the tokenizer does not have are left out."""
    known = {token["content"] for token in tokenizer.get("added_tokens") or ()}
    return {key: name for key, names in NAMES.items() for name in names if name in known}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
