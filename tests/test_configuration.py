"""Configurations from files and words: what wins, and what a mistake says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("jsonargparse")

from compact_labse.commands import distill, pretrain, train
from compact_labse.configuration import (
    Words,
    _parser,
    as_options,
    as_yaml,
    in_plain_words,
    note_unused,
    read_config,
    with_own_files,
)
from compact_labse.errors import UserError
from compact_labse.pipelines import load_pipeline


@dataclass(frozen=True, kw_only=True)
class Inner:
    """An inner part.

    Args:
        rate: A rate.
        steps: A count.
    """

    rate: float = 0.5
    steps: int = 7

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise UserError(f"inner.rate must not be negative, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """All of it.

    Args:
        out: A folder.
        fast: A switch.
        model: Another folder.
        data: Files.
        pair: Two numbers.
    """

    out: str
    fast: bool = False
    model: str | None = None
    data: list[str] = field(default_factory=list)
    pair: tuple[float, float] = (0.9, 0.99)
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape.

    Args:
        kind: Its kind.
    """

    kind: Literal["static", "bert", "electra"] = "bert"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is trained.

    Args:
        student: Its shape.
    """

    student: Shape = field(default_factory=Shape)


SAID = Words(command="outer", usage="compact-labse outer", description="Nothing.")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "a.yaml").write_text("out: first\ndata: [x, y]\ninner:\n  rate: 1.5\n  steps: 1\n")
    (tmp_path / "b.yaml").write_text("data: [z]\ninner:\n  steps: 2\n")
    return str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")


def test_files_merge_in_order_and_words_win_over_them(files):
    one, two = files
    found = read_config(["--config", one, "--config", two], Outer, SAID)
    assert found == Outer(out="first", data=["z"], inner=Inner(rate=1.5, steps=2))
    assert read_config(["--config", two, "--config", one], Outer, SAID).inner.steps == 1
    given = ["--config", one, "--config", two, "inner.steps=3", "--inner.rate", "2", "out=here"]
    assert read_config(given, Outer, SAID) == Outer(out="here", data=["z"], inner=Inner(rate=2, steps=3))
    before = ["inner.steps=9", "--config", one]
    assert read_config(before, Outer, SAID).inner.steps == 1, "what stands later wins, files as well"


def test_an_assignment_after_a_list_is_none_of_its_values():
    given = ["--data", "a.tsv", "b=c.tsv", "inner.steps=4", "out=x"]
    assert read_config(given, Outer, SAID) == Outer(out="x", data=["a.tsv", "b=c.tsv"], inner=Inner(steps=4))
    assert as_options(["--data", "a", "b"], (), ("--data",)) == ["--data", '["a", "b"]']


def test_an_entry_of_a_mapping_after_a_list_is_none_of_its_values():
    """`corpus.weights.news=3` was taken for a file, and the weight stayed what it was."""
    known = ("--corpus.weights", "--inner")
    given = ["--data", "a.tsv", "corpus.weights.news=3", "inner.stepz=4", "b.x=c.tsv", "corpus.weights/b.c=d.tsv"]
    read = as_options(given, known, ("--data",))
    assert read == ["--data", '["a.tsv"]', "--corpus.weights.news=3", "--inner.stepz=4", "b.x=c.tsv", given[-1]]


def test_a_configuration_comes_back_from_its_yaml(tmp_path):
    config = Outer(out="x", data=["ä=b"], pair=(0.1, 0.2), inner=Inner(rate=1e-5))
    (tmp_path / "c.yaml").write_text(as_yaml(config), encoding="utf-8")
    assert read_config(["--config", str(tmp_path / "c.yaml")], Outer, SAID) == config


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["inner.stepz=4", "out=x"], r"inner\.stepz=4.*see `compact-labse outer --help`"),
        (["inner.steps=many", "out=x"], r"inner\.steps.*see `compact-labse outer --help`"),
        ([], "out"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_mistakes_are_sentences(given, message):
    with pytest.raises(UserError, match=message):
        read_config(given, Outer, SAID)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("inner: {stepz: 4}", r"/bad\.yaml: .*stepz"),
        ("inner: {steps: many}", r"/bad\.yaml: .*inner\.steps"),
        ("inner: {rate: -1}", r"/bad\.yaml: inner\.rate must not be negative, got -1\.0"),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_of_several_files_the_one_with_the_mistake_is_named(files, tmp_path, fault, message, last):
    (tmp_path / "bad.yaml").write_text(fault)
    (tmp_path / "good.yaml").write_text("data: [z]\n")
    names = [str(tmp_path / name) for name in (("good.yaml", "bad.yaml") if last else ("bad.yaml", "good.yaml"))]
    words = [word for name in names for word in ("--config", name)]
    with pytest.raises(UserError, match=message):
        read_config([*words, "--out", "x"], Outer, SAID)
    with pytest.raises(UserError, match=message):
        read_config([*(f"--config={name}" for name in names), "out=x"], Outer, SAID)


def test_no_file_is_blamed_for_a_mistake_in_the_words(files):
    with pytest.raises(UserError, match=r"^inner\.rate must not be negative, got -2\.0"):
        read_config(["--config", files[0], "inner.rate=-2"], Outer, SAID)


@pytest.mark.parametrize("given", [["--fast"], ["--fast", "true"], ["--fast=true"], ["fast=true"]])
def test_a_switch_needs_no_value(given):
    for words in ([*given, "--out", "x"], ["--out", "x", *given], [*given, "out=x"]):
        assert read_config(words, Outer, SAID).fast
    assert not read_config(["--fast", "false", "--out", "x"], Outer, SAID).fast


def test_what_a_command_has_no_use_for_is_not_in_its_help(capsys):
    said = Words(command="outer", usage="", description="", hidden=("inner.steps",), help={"inner.rate": "Here: so."})
    with pytest.raises(SystemExit):
        read_config(["--help"], Outer, said)
    shown = capsys.readouterr().out
    assert "inner.steps" not in shown and "A rate." not in shown
    assert "--inner.rate" in shown and "Here: so." in shown and "--pair" in shown


def test_choices_that_a_command_refuses_are_not_in_its_help(capsys):
    said = Words(command="train", usage="", description="", choices={"student.kind": ("bert", "electra")})
    with pytest.raises(SystemExit):
        read_config(["--help"], Trained, said)
    assert "static" not in (shown := capsys.readouterr().out) and "--student.kind {bert,electra}" in shown
    assert read_config(["student.kind=electra"], Trained, said).student.kind == "electra"
    with pytest.raises(UserError, match=r"student\.kind.*'bert' or 'electra'.*static"):
        read_config(["student.kind=static"], Trained, said)


@pytest.mark.parametrize("command", [train, pretrain, distill])
def test_every_setting_says_what_it_is(command):
    place, kind = {train: ("teacher/train", "TrainConfig"), pretrain: ("teacher/pretrain", "PretrainConfig")}.get(
        command, ("student", "DistillConfig")
    )
    parser = _parser(getattr(load_pipeline("distill", place), kind), command.WORDS)
    said = {name: action.help for name, action in parser._option_string_actions.items()}
    assert "--corpus.cleaning.max_ratio" in said
    assert [name for name, text in said.items() if not text] == []
    assert said["--student"].startswith("Name or folder") == (command is distill)


def test_settings_of_a_model_that_is_not_made_are_named(capsys):
    note_unused(Outer(out="x", model="m", inner=Inner(steps=3)), ("inner",))
    assert capsys.readouterr().err == ("warning: not used: inner.steps; they describe a new model, and model is m\n")
    note_unused(Outer(out="x", model="m"), ("inner",))
    assert capsys.readouterr().err == ""


def test_our_own_files_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--config", "distill/heal.yaml", "--config", "distill/none.yaml", "out=distill/heal.yaml"]
    found = with_own_files(words)
    assert Path(found[1]).is_file()
    assert found[2:] == words[2:]
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill/heal.yaml").write_text("batch: 3")
    assert with_own_files(words) == words, "the user's own comes first"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "x", "--inner.steps", "2.5"], "inner.steps must be a whole number, got '2.5'"),
        (["--out", "x", "--inner.rate", "fast"], "inner.rate must be a number, got 'fast'"),
    ],
)
def test_a_value_of_the_wrong_kind_is_said_in_plain_words(words, said):
    """The parser's own words were "Does not validate against any of the Union subtypes Subtypes: [<class 'int'>"."""
    with pytest.raises(UserError, match=re.escape(said)):
        read_config(words, Outer, SAID)


def test_choices_are_said_in_plain_words():
    with pytest.raises(UserError, match="student.kind must be 'static' or 'bert' or 'electra', got 'lstm'"):
        read_config(["--student.kind", "lstm"], Trained, SAID)


def test_what_the_parser_says_otherwise_stays_as_it_is():
    assert in_plain_words("unrecognized\n  arguments: --x") == "unrecognized arguments: --x"
    union = (
        'Parser key "bits": Does not validate against any of the Union subtypes Subtypes: [] Errors: '
        "- Expected a <class 'int'> - Expected a <class 'NoneType'> Given value type: <class 'str'> Given value: abc"
    )
    assert in_plain_words(union) == "bits must be a whole number or null, got 'abc'"
