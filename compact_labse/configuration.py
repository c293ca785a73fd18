"""A pipeline's configuration from YAML files and words of the command line, later ones winning over earlier ones.

What `--config_file` and `--params_override` are to TensorFlow Model Garden's trainers, `--config FILE` and `key=value`
(or `--key value`) are here. Files merge key by key; a list is replaced as a whole.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any, Literal

from compact_labse.errors import UserError, require, with_hint
from compact_labse.pipelines import load_pipeline, pipeline_folder
from compact_labse.progress import say

# How jsonargparse says that a value has the wrong type.
KEY = re.compile(r'Parser key "([\w.]+)":')
EXPECTED = re.compile(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.*?)\])")
GIVEN = re.compile(r"(?:Given|Got) value: (.*?)$")
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "dict": "{name: value}",
    "NoneType": "null",
}

COLUMNS = "--corpus.columns"


@dataclass(frozen=True, kw_only=True)
class Words:
    """How a command is called: its name, its usage line and description, and which settings take several values.

    `hidden` names settings that a shared part has and this command has no use for, `help` says of others (and of parts
    that take no file) what they are here, `choices` what they may be. `new_model` names the parts that describe a new
    model, and decide nothing once `model` names one.
    """

    command: str
    usage: str
    description: str
    lists: tuple[str, ...] = ("--data", "--texts", COLUMNS, "--corpus.avoid")
    hidden: tuple[str, ...] = ()
    help: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    new_model: tuple[str, ...] = ()


def read_config(words: Sequence[str], kind: type, said: Words) -> Any:
    """The `kind` that the words describe; a mistake in them is a UserError of one sentence, which names its file.

    `--help` and `--print_config` print and exit.
    """
    parser = _parser(kind, said)
    options = as_options(with_own_files(words), parser._option_string_actions, said.lists, _switches(parser))
    try:
        return _read(options, parser, kind, said)
    except UserError as error:
        out = [word for word in ("--out=out",) if "--out" in parser._option_string_actions]  # it is required
        for file in _files(options):
            try:
                _read(["--config", file, *out], parser, kind, said)
            except UserError as alone:
                if str(alone) == str(error):
                    raise UserError(f"{file}: {error}") from error
        raise


def run_script(words: Sequence[str], kind: type, said: Words, run: Callable[[Any], object]) -> int:
    """Run a pipeline that is no command: its exit code, and one sentence on stderr if something fails."""
    from compact_labse.cli import explain

    try:
        run(read_config(words, kind, said))
    except (UserError, KeyboardInterrupt) as error:
        message, code = explain(error)
        print(message, file=sys.stderr)
        return code
    return 0


def note_unused(config: Any, parts: Sequence[str]) -> None:
    """Say which settings of some parts were given, that is, differ from their defaults, though they decide nothing."""
    made = {one.name: one.default_factory for one in fields(config) if one.name in parts}
    usual = {name: asdict(make()) for name, make in made.items() if callable(make)}
    given = [
        f"{part}.{name}"
        for part in parts
        for name, value in asdict(getattr(config, part)).items()
        if value != usual[part][name]
    ]
    if given:
        say(f"warning: not used: {', '.join(given)}; they describe a new model, and model is {config.model}")


def _parser(kind: type, said: Words) -> Any:
    from jsonargparse import ArgumentParser, DefaultHelpFormatter

    class WithDefaults(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
        """The description as it stands, and each setting's default."""

    parser = ArgumentParser(
        prog=f"compact-labse {said.command}",
        usage=said.usage,
        description=said.description,
        formatter_class=WithDefaults,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of the settings below")
    parser.add_class_arguments(kind)
    actions: dict[str, Any] = parser._option_string_actions  # jsonargparse's own, with the type in `_typehint`
    for option, action in actions.items():
        name = option.removeprefix("--")
        if name in said.hidden:
            action.help = argparse.SUPPRESS
        elif name in said.help:
            action.help = said.help[name]
            action.metavar = "NAME" if action.metavar == "CONFIG" else action.metavar
        if name in said.choices:
            action._typehint, action.metavar = Literal[said.choices[name]], f"{{{','.join(said.choices[name])}}}"
    return parser


def _read(options: Sequence[str], parser: Any, kind: type, said: Words) -> Any:
    try:
        settings = parser.instantiate(parser.parse_args(options)).as_dict()
    except argparse.ArgumentError as error:
        message = in_plain_words(with_hint(str(error), parser._option_string_actions))
        raise UserError(f"{message}; see `compact-labse {said.command} --help`") from error
    settings.pop("config")
    return kind(**settings)


def in_plain_words(message: str) -> str:
    """What the parser says of a value that does not fit, in one sentence without Python's names of types."""
    message = " ".join(message.split())
    key = KEY.match(message)
    value = GIVEN.search(message)
    found = dict.fromkeys(EXPECTED.findall(message))
    wanted = [KINDS.get(kind, kind) if kind else choices.replace(", ", " or ") for kind, choices in found]
    if not key or not value or not wanted:
        return message
    return f"{key[1]} must be {' or '.join(wanted)}, got {value[1]!r}"


def run_training(words: Sequence[str], path: str, kind: str, said: Words) -> int:
    """Run the pipeline `distill/<path>.py` with the `kind` of configuration that the words describe; the exit code."""
    require("jsonargparse", "train")
    pipeline = load_pipeline("distill", path)
    config = read_config(words, getattr(pipeline, kind), said)
    if said.new_model and config.model is not None and os.environ.get("RANK", "0") == "0":
        note_unused(config, said.new_model)
    for library in ("torch", "transformers", "safetensors"):
        require(library, "train")
    try:
        pipeline.run(config)
    except KeyboardInterrupt:
        say("interrupted; give the same command again to go on from here")
        raise
    return 0


def with_own_files(words: Sequence[str]) -> list[str]:
    """The words, with the place of each `--config` file that is ours (`distill/heal.yaml`) and not found from here."""
    found = list(words)
    for place, (name, value) in enumerate(pairwise(words), 1):
        own = pipeline_folder("distill").parent / value
        if name == "--config" and value.startswith("distill/") and not Path(value).exists() and own.is_file():
            found[place] = str(own)
    return found


def as_options(
    words: Sequence[str], known: Container[str], lists: Container[str], switches: Container[str] = ()
) -> list[str]:
    """The words as jsonargparse reads them: `--data a b` as one list, `loop.steps=9` as `--loop.steps=9`.

    A word is an assignment only if a setting has the name before its `=`, or the part of it before the last dot (an
    entry of a mapping, or a slip of the pen): files may be called `a=b.tsv`. Of `switches`, `--overwrite` alone is
    `--overwrite true`.
    """
    words = [f"--{word}" if _assigns(word, known) else word for word in words]
    joined: list[str] = []
    place = 0
    while place < len(words):
        word, place = words[place], place + 1
        joined.append(word)
        if word in switches and (place == len(words) or words[place].startswith("--")):
            joined.append("true")
        if word not in lists:
            continue
        values = list(takewhile(lambda value: not value.startswith("--"), words[place:]))
        place += len(values)
        joined.append(values[0] if len(values) == 1 and values[0].startswith("[") else json.dumps(_split(word, values)))
    return joined


def _assigns(word: str, known: Container[str]) -> bool:
    name, given, _ = word.partition("=")
    group = name.rpartition(".")[0]
    return bool(given) and "/" not in name and (f"--{name}" in known or f"--{group}" in known)


def as_yaml(config: Any) -> str:
    """A configuration dataclass as a file that `--config` reads."""
    import yaml

    return yaml.safe_dump(_plain(asdict(config)), sort_keys=False, allow_unicode=True)


def _switches(parser: Any) -> set[str]:
    actions = parser._option_string_actions.items()
    return {name for name, action in actions if getattr(action, "_typehint", None) is bool}


def _files(options: Sequence[str]) -> list[str]:
    """The files that `--config` names, the last one first."""
    named = [value for name, value in pairwise(options) if name == "--config"]
    joined = [word.removeprefix("--config=") for word in options if word.startswith("--config=")]
    return [*reversed(named), *reversed(joined)]


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _split(word: str, values: list[str]) -> list[str]:
    """Column names may be joined by commas, as `data clean` takes them; file names may hold commas."""
    return ",".join(values).split(",") if word == COLUMNS else values
