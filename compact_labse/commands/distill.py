"""`compact-labse distill`: train a small student from a teacher and text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from compact_labse.errors import UserError, require, with_hint
from compact_labse.pipelines import load_pipeline
from compact_labse.progress import say

LISTS = ("--data", "--texts", "--corpus.columns", "--corpus.avoid")

DESCRIPTION = """Train a small student from a teacher and sentence pairs.

example:
  compact-labse distill --teacher minilm --data pairs/ --out student --loop.steps 2000

`pairs/` holds files such as en-de.tsv.gz (English<TAB>German; the name tells the language). Files with a header, or
more columns: --corpus.columns english,german. An interrupted run goes on when the same command is given again. Settings
can also come from YAML files, later ones winning over earlier ones, and options over files:
  compact-labse distill --config distill/static.yaml --data pairs/ --out student --batch 4096
"""


def main(words: Sequence[str]) -> int:
    """Run the command with its own words; returns the exit code."""
    require("jsonargparse", "train")
    pipeline = load_pipeline("distill", "student")
    config = read_config(list(words), pipeline.DistillConfig)
    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    try:
        pipeline.run(config)
    except KeyboardInterrupt:
        say("interrupted; give the same command again to go on from here")
        raise
    return 0


def read_config(words: list[str], kind: type) -> Any:
    """The configuration that the words describe; a mistake in them is a UserError of one sentence.

    `--help` and `--print_config` print and exit.
    """
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class WithDefaults(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """The description as it stands, and each setting's default."""

    parser = ArgumentParser(
        prog="compact-labse distill",
        usage="compact-labse distill --teacher NAME --data PATH... --out DIR [--config FILE] [--SETTING VALUE ...]",
        description=DESCRIPTION,
        formatter_class=WithDefaults,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of the settings below")
    parser.add_class_arguments(kind)
    try:
        parsed = parser.parse_args(_lists_joined(words))
        settings = parser.instantiate(parsed).as_dict()
    except argparse.ArgumentError as error:
        raise UserError(_one_sentence(with_hint(str(error), parser._option_string_actions))) from error
    settings.pop("config")
    return kind(**settings)


def _lists_joined(words: list[str]) -> list[str]:
    """`--data a b` as the one list that jsonargparse reads."""
    joined: list[str] = []
    place = 0
    while place < len(words):
        word, place = words[place], place + 1
        joined.append(word)
        if word not in LISTS:
            continue
        values = list(takewhile(lambda value: not value.startswith("--"), words[place:]))
        place += len(values)
        joined.append(values[0] if len(values) == 1 and values[0].startswith("[") else json.dumps(_split(word, values)))
    return joined


def _split(word: str, values: list[str]) -> list[str]:
    """Column names may be joined by commas, as `data clean` takes them; file names may hold commas."""
    return ",".join(values).split(",") if word == "--corpus.columns" else values


def _one_sentence(message: str) -> str:
    return " ".join(message.split()) + "; see `compact-labse distill --help`"
