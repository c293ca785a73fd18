"""Real processes that agree, and what each says when another is gone, silent or has another number of pairs."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from tests.ranks_program import start


def met(fault: str, world: int) -> list[tuple[int, str]]:
    """Exit code and output of every rank."""
    running = start("tests.ranks_faults", world, [fault])
    return [(process.wait(timeout=120), process.stdout.read() + process.stderr.read()) for process in running]


def test_all_is_well():
    assert met("none", 2) == [(0, ""), (0, "")]


@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_uneven_batches_are_an_error_on_every_rank_and_no_hang(world):
    ended = met("uneven", world)
    assert {code for code, _ in ended} == {2}
    for _, said in ended:
        assert "the ranks' batches differ in shape" in said
        assert f"rank {world - 1}: [2, 4]" in said


def test_a_rank_that_dies_is_noticed_at_once():
    ended = met("dies", 2)
    assert ended[1][0] == 9
    assert ended[0][0] == 2
    assert "rank 0 of 2 lost another one, which died or did not answer for 2 s" in ended[0][1]
    assert "to go on from the last checkpoint" in ended[0][1]


def test_a_rank_that_is_silent_is_given_up_after_the_timeout():
    ended = met("sleeps", 2)
    assert ended[0][0] == 2
    assert "did not answer for 2 s" in ended[0][1]
    assert ended[1][0] == 2, "and the one that slept finds the others gone"
