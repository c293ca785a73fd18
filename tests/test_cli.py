"""Every way a command can end is one sentence and the right exit code."""

from __future__ import annotations

import argparse
import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import compact_labse
from compact_labse import cli
from compact_labse.errors import GateError, UserError

ROOT = Path(__file__).resolve().parents[1]


def shell(*words: str, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    command = [sys.executable, "-m", "compact_labse", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, **options)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[argparse.Namespace], int | None]], None]:
    """`command(run)` makes `compact-labse pretend TEXT [--top N]` call `run(args)`."""

    def make(run: Callable[[argparse.Namespace], int | None]) -> None:
        module = ModuleType("pretended_command")

        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("text")
            parser.add_argument("--top", type=int, default=3)
            parser.epilog = "example:\n  compact-labse pretend hello"

        module.add_arguments, module.run = add_arguments, run  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pretended_command", module)
        monkeypatch.setitem(cli.COMMANDS, "pretend", ("pretended_command", "pretend to work"))

    return make


def failing(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run


def test_a_command_gets_its_arguments_and_gives_the_exit_code(command, capsys: pytest.CaptureFixture[str]):
    command(lambda args: print(args.text * args.top))
    assert cli.main(["pretend", "ab", "--top", "2"]) == 0
    assert capsys.readouterr() == ("abab\n", "")
    command(lambda args: 3)
    assert cli.main(["pretend", "ab"]) == 3


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no column 'sorce' in a.tsv"), 2, "error: no column 'sorce' in a.tsv"),
        (GateError("parity: cosine .98"), 3, "error: parity: cosine .98"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.tsv"),
            2,
            "error: no such file or folder: a.tsv",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "error: permission denied: /root/x"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 2, "error: the disk is full: out; free some space"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "data"), 2, "error: Is a directory: data"),
        (OSError("connection\nlost"), 2, "error: connection lost"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "error: this needs the library 'torch'"),
        (ZeroDivisionError("division\nby zero"), 1, "error: unexpected ZeroDivisionError: division by zero (--debug"),
        (SystemExit(7), 7, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_failure_is_one_line(command, capsys: pytest.CaptureFixture[str], error, code: int, message: str):
    command(failing(error))
    assert cli.main(["pretend", "x"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) == bool(message)


@pytest.mark.parametrize(
    "words", [["--debug", "pretend", "x"], ["pretend", "--debug", "x"], ["pretend", "x", "--debug"]]
)
def test_debug_anywhere_shows_the_traceback(command, capsys: pytest.CaptureFixture[str], words: list[str]):
    command(failing(UserError("bad input")))
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: bad input\n")


def test_after_two_dashes_debug_is_text(command, capsys: pytest.CaptureFixture[str]):
    command(lambda args: print(args.text))
    assert cli.main(["pretend", "--", "--debug"]) == 0
    assert capsys.readouterr().out == "--debug\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pretend"], "the following arguments are required: text; see `compact-labse pretend --help`"),
        (["pretend", "x", "--top", "ten"], "argument --top: invalid int value: 'ten'; see"),
        (
            ["pretend", "x", "--to", "1"],
            "unrecognized arguments: --to 1; did you mean --top?; see `compact-labse pretend --help`",
        ),
        (["pretned"], "unknown command 'pretned'; did you mean 'pretend'?"),
        (
            ["xyzzy"],
            f"unknown command 'xyzzy'; known: {', '.join(cli.COMMANDS)}",
        ),
        (["--verbose"], "unrecognized arguments: --verbose; see `compact-labse --help`"),
    ],
)
def test_a_mistyped_line_is_one_sentence(command, capsys: pytest.CaptureFixture[str], words: list[str], message: str):
    command(lambda args: 0)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) == 1


def test_a_command_that_parses_for_itself_gets_the_raw_words(monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("raw_command")
    seen: list[str] = []
    module.main = seen.extend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "raw_command", module)
    monkeypatch.setitem(cli.COMMANDS, "raw", ("raw_command", "parse for itself"))
    assert cli.main(["raw", "--config", "a.yaml", "--debug", "--steps=3"]) == 0
    assert seen == ["--config", "a.yaml", "--steps=3"]


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == 2
    err = capsys.readouterr().err
    assert all(f"  {name} " in err for name in cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"compact-labse {compact_labse.__version__}\n"


def test_the_process_gives_code_and_sentence():
    done = shell("embd")
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        "error: unknown command 'embd'; did you mean 'embed'?\n",
    )


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_helps_with_an_example(name: str):
    done = shell(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout.lower()
    shown = done.stdout[done.stdout.lower().index("example") :]
    assert f"compact-labse {name}" in shown


PRINTING = """
import sys, types
from compact_labse import cli
module = types.ModuleType("printing")
module.main = lambda words: [print(i) for i in range(200_000)] and 0
sys.modules["printing"] = module
cli.COMMANDS["print"] = ("printing", "print much")
sys.exit(cli.main(["print"]))
"""


def test_the_exit_codes_of_help_and_readme_are_the_same(capsys):
    assert cli.main(["--help"]) == 0
    shown, readme = capsys.readouterr().out, (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", readme[readme.index("| exit code |") :], flags=re.M))
    assert rows == {str(code): meaning for code, meaning in cli.EXIT_CODES.items()}
    for code, meaning in rows.items():
        assert re.search(rf"^ +{code} +{re.escape(meaning)}$", shown, flags=re.M)
    assert {cli.explain(UserError("x"))[1], cli.explain(GateError("x"))[1], cli.explain(ValueError())[1]} == {1, 2, 3}


def test_a_reader_that_leaves_is_no_error():
    """`compact-labse search ... | head -1` must not end in a page of BrokenPipeError."""
    with subprocess.Popen(
        [sys.executable, "-c", PRINTING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
