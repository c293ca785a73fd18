"""Progress stays silent in pipes and for short work, and never changes what passes through."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.progress import Progress

from compact_labse import progress
from compact_labse.progress import say, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, patience_s: float) -> Terminal:
    """Called inside the test: pytest puts its own stderr in place after the fixtures."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "PATIENCE_S", patience_s)
    return terminal


def test_silent_when_stderr_is_not_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "PATIENCE_S", -1.0)
    assert list(track(range(3), "work")) == [0, 1, 2]
    assert capfd.readouterr() == ("", "")


def test_silent_while_the_work_is_short(monkeypatch: pytest.MonkeyPatch):
    terminal = on_a_terminal(monkeypatch, patience_s=60.0)
    assert list(track(range(3), "work")) == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_long_work_on_a_terminal_gets_a_bar_with_total(monkeypatch: pytest.MonkeyPatch):
    terminal = on_a_terminal(monkeypatch, patience_s=-1.0)
    assert list(track((i for i in range(5)), "encoding", total=5)) == [0, 1, 2, 3, 4]
    assert "encoding" in terminal.getvalue()
    assert "5/5" in terminal.getvalue()


def test_the_bar_ends_with_an_error(monkeypatch: pytest.MonkeyPatch):
    on_a_terminal(monkeypatch, patience_s=-1.0)
    bars = []
    make = progress._bar

    def kept(description: str, total: int | None, done: int) -> Progress:
        bars.append(make(description, total, done))
        return bars[-1]

    monkeypatch.setattr(progress, "_bar", kept)

    def work() -> Iterator[int]:
        yield 1
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        list(track(work(), "work"))
    assert [bar.live.is_started for bar in bars] == [False]


def test_say_writes_to_stderr(capfd: pytest.CaptureFixture[str]):
    say("3 pairs dropped")
    assert capfd.readouterr() == ("", "3 pairs dropped\n")
