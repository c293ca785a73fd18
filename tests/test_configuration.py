"""Configurations from files and words: what wins, and what a mistake says."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("jsonargparse")

from compact_labse.configuration import Words, as_options, as_yaml, read_config
from compact_labse.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """An inner part.

    Args:
        rate: A rate.
        steps: A count.
    """

    rate: float = 0.5
    steps: int = 7


@dataclass(frozen=True, kw_only=True)
class Outer:
    """All of it.

    Args:
        out: A folder.
        data: Files.
        pair: Two numbers.
    """

    out: str
    data: list[str] = field(default_factory=list)
    pair: tuple[float, float] = (0.9, 0.99)
    inner: Inner = field(default_factory=Inner)


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
