"""The command line: finds the subcommand, imports only that, and turns every failure into a sentence and an exit code.

The README's table of exit codes is this module's: `EXIT_CODES`, also at the end of `--help`.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from compact_labse import __version__
from compact_labse.errors import UserError, missing, with_hint

COMMANDS: dict[str, tuple[str, str]] = {
    "data": (
        "compact_labse.commands.data",
        "clean and decontaminate text for training; make masked examples of it",
    ),
    "pretrain": ("compact_labse.commands.pretrain", "guess masked tokens of text and translations: MLM and TLM"),
    "train": ("compact_labse.commands.train", "train a teacher on sentence pairs, across processes and accelerators"),
    "distill": ("compact_labse.commands.distill", "train a small student from a teacher and text"),
    "trim": ("compact_labse.commands.trim", "keep only the vocabulary that some languages need"),
    "prune": ("compact_labse.commands.prune", "drop layers, heads and feed-forward columns; narrow a model"),
    "compress": ("compact_labse.commands.compress", "the best model within a budget of size, latency and quality"),
    "eval": ("compact_labse.commands.eval", "measure retrieval, similarity and agreement with a teacher"),
    "export": ("compact_labse.commands.export", "write a model for another runtime, through the parity gates"),
    "convert": ("compact_labse.commands.convert", "read checkpoints of TensorFlow, and write them"),
    "verify": ("compact_labse.commands.verify", "check exported artifacts against their hashes and expected vectors"),
    "bench": ("compact_labse.commands.bench", "compare latency, memory, size and accuracy side by side"),
    "embed": ("compact_labse.commands.embed", "turn text into vectors"),
    "search": ("compact_labse.commands.search", "search a text file by meaning, across languages"),
}

INTERRUPTED, PIPE_CLOSED = 130, 141
EXIT_CODES = {
    0: "done",
    1: "an unexpected error, or a measure of `eval` that failed while the others went on",
    2: "bad input, or what is missing: a file, a library, room on the disk",
    3: "a gate, `verify`'s check or a limit failed: `compress` keeps too little, `bench compare` found something worse",
    INTERRUPTED: "interrupted",
    PIPE_CLOSED: "nobody reads the output any more",
}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are UserErrors: one sentence, no page of usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{with_hint(message, self._option_string_actions)}; see `{self.prog} --help`")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `compact-labse` with `argv` (default: the process's arguments) and return the exit code."""
    words, debug = _take_debug(list(sys.argv[1:] if argv is None else argv))
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        _silence_stdout()
        return PIPE_CLOSED
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        message, code = explain(error)
        print(message, file=sys.stderr)
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """The one line that a user reads for `error`, and the exit code."""
    if isinstance(error, UserError):
        return f"error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("compact_labse"):
        return f"error: {missing(error.name)}", UserError.exit_code
    if isinstance(error, OSError):
        return f"error: {_explain_os(error)}", UserError.exit_code
    return f"error: unexpected {type(error).__name__}: {_one_line(error)} (--debug shows the traceback)", 1


def _dispatch(words: list[str]) -> int:
    if not words:
        print(_overview().format_help(), file=sys.stderr, end="")
        return UserError.exit_code
    if words[0].startswith("-"):
        _overview().parse_args(words)
        raise UserError(f"a command is needed before {words[-1]!r}: one of {', '.join(COMMANDS)}")
    name, *rest = words
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {name!r}; {hint}")
    return _run(name, importlib.import_module(COMMANDS[name][0]), rest)


def _run(name: str, command: ModuleType, words: list[str]) -> int:
    if hasattr(command, "main"):
        return int(command.main(words) or 0)
    parser = Parser(
        prog=f"compact-labse {name}",
        description=COMMANDS[name][1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(words)) or 0)


def _overview() -> Parser:
    width = max(map(len, COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    codes = "\n".join(f"  {code:<{width}}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = Parser(
        prog="compact-labse",
        usage="compact-labse [--version] [--debug] COMMAND ...",
        description="Make small multilingual sentence encoders, and use them.",
        epilog=f"commands:\n{commands}\n\n`compact-labse COMMAND --help` shows its options and an example.\n"
        f'example: compact-labse embed "Guten Morgen"\n\nexit codes:\n{codes}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"compact-labse {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (anywhere on the line)")
    return parser


def _take_debug(words: list[str]) -> tuple[list[str], bool]:
    """Remove `--debug` wherever it stands; after `--` everything is text."""
    end = words.index("--") if "--" in words else len(words)
    kept = [word for word in words[:end] if word != "--debug"] + words[end:]
    return kept, len(kept) < len(words)


def _explain_os(error: OSError) -> str:
    where = f": {error.filename}" if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}; free some space and run the command again"
    if isinstance(error, FileNotFoundError):
        return f"no such file or folder{where}"
    if isinstance(error, PermissionError):
        return f"permission denied{where}"
    return f"{error.strerror or _one_line(error)}{where}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or "no message"


def _silence_stdout() -> None:
    # Python flushes stdout once more at exit and would complain about the closed pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
