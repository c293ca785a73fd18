"""What the JSON files of a model folder say: token limit, default prompt, position counting. Needs no library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError

UNLIMITED = 1_000_000  # tokenizer_config.json says 1e30 where a model has no limit
TEXT_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
OFFSET_FAMILIES = frozenset(
    ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "data2vec-text", "longformer", "ibert")
)


def token_limit(folder: Path | str) -> int | None:
    """How many tokens the model in a folder takes, or None if unlimited.

    `max_seq_length` of `sentence_bert_config.json` wins over `model_max_length` of `tokenizer_config.json`; neither may
    pass the position table, which in RoBERTa's and MPNet's families starts after the padding id.
    """
    folder = Path(folder)
    wanted = text_config(folder).get("max_seq_length")
    if wanted is None:
        wanted = read_json(folder / "tokenizer_config.json").get("model_max_length")
    limits = [int(n) for n in (wanted, position_limit(folder)) if n is not None and 0 < n < UNLIMITED]
    return min(limits, default=None)


def position_limit(folder: Path | str) -> int | None:
    """How many tokens the position table of the model in a folder can tell apart, or None where there is none."""
    config = read_json(Path(folder) / "config.json")
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    return positions - int(config.get("pad_token_id", 1)) - 1 if offset_positions(config) else positions


def offset_positions(config: dict[str, Any]) -> bool:
    """Whether a `config.json` is of a family that counts positions from its padding id."""
    return config.get("model_type") in OFFSET_FAMILIES


def default_prompt(folder: Path | str) -> str:
    """The prompt that sentence-transformers puts before every text of this folder's model; mostly empty."""
    config = read_json(Path(folder) / "config_sentence_transformers.json")
    name = config.get("default_prompt_name")
    if not name:
        return ""
    prompts = config.get("prompts") or {}
    if name not in prompts:
        raise UserError(
            f"{folder}/config_sentence_transformers.json: default_prompt_name is {name!r}, "
            f"but prompts has only {sorted(prompts)}."
        )
    return prompts[name]


def read_json(path: Path, *, required: bool = False) -> dict[str, Any]:
    """A JSON object from a file, or {} if there is no such file; UserError if it is required or no JSON object."""
    if not path.is_file():
        if required:
            raise UserError(f"{path} is missing: is {path.parent} a whole model folder?")
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not readable as JSON: {error}.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} must hold a JSON object, got a {type(found).__name__}.")
    return found


def text_config(folder: Path | str) -> dict[str, Any]:
    """The settings of a folder's text module, `sentence_bert_config.json` or one of its older names; {} without one."""
    return next((found for name in TEXT_CONFIGS if (found := read_json(Path(folder) / name))), {})
