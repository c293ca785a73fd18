"""Budgets, candidates, the search and the front: what needs no model to be made."""

from __future__ import annotations

import itertools
import random

import pytest

pytest.importorskip("torch", reason="candidates are read from models: the extra 'train'")
pytest.importorskip("optuna", reason="the search needs the extra 'compress'")

from compact_labse.compress.budget import Budget, bytes_of, milliseconds_of
from compact_labse.compress.candidates import Candidate, Space, space_of
from compact_labse.compress.evidence import FITS, LOOKED_AT, TOO_LARGE, TRAINED, Row, front_table, page, steps_table
from compact_labse.compress.search import Search, front
from compact_labse.errors import UserError
from compact_labse.torch_encoder import TorchEncoder

SPACE = Space(
    options={
        "pieces": (1000, 600, 350),
        "layers": (6, 4, 2),
        "heads": (12, 6),
        "ffn": (1536, 512),
        "table": (0, 128),
        "bits": ("fp32", "int8", "int4"),
    },
    dim=384,
    table=384,
)


@pytest.mark.parametrize(
    ("text", "size"), [("20MB", 20_000_000), ("1.5 kB", 1500), ("2MiB", 2 << 20), ("123", 123), (" 3GB ", 3 * 10**9)]
)
def test_sizes_are_read(text, size):
    assert bytes_of(text) == size


@pytest.mark.parametrize(("text", "ms"), [("3ms", 3.0), ("800us", 0.8), ("0.5s", 500.0), ("2", 2.0)])
def test_times_are_read(text, ms):
    assert milliseconds_of(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "MB", "-3MB", "0MB", "3 apples", "1e3MB"])
def test_other_sizes_are_refused_with_an_example(text):
    with pytest.raises(UserError, match="takes a size such as 20MB"):
        bytes_of(text)


def test_a_budget_has_a_limit_and_a_share():
    with pytest.raises(UserError, match="give --max-size 20MB, --max-latency 3ms, or both"):
        Budget()
    for share in (0.0, 1.01, -1.0):
        with pytest.raises(UserError, match="--min-quality is a share"):
            Budget(max_size=1, min_quality=share)
    budget = Budget(max_size=100, max_latency=2.0)
    assert budget.fits(100, 2.0)
    assert not budget.fits(101, 1.0)
    assert not budget.fits(1, 2.1)
    assert Budget(max_size=100).fits(100, 1e9)
    assert budget.excess(150, 1.0) == pytest.approx((0.5, -0.5))


def every(space: Space) -> list[Candidate]:
    names = list(space.options)
    return [Candidate(**dict(zip(names, values, strict=True))) for values in itertools.product(*space.options.values())]


def test_a_model_that_contains_another_has_no_fewer_bytes():
    found = random.Random(0).sample(every(SPACE), 60)
    pairs = [(one, other) for one in found for other in found if SPACE.contains(one, other)]
    assert len(pairs) > len(found)  # more than each itself
    assert all(SPACE.floor(one) >= SPACE.floor(other) for one, other in pairs)
    assert any(SPACE.floor(one) > SPACE.floor(other) for one, other in pairs)


def test_the_smallest_is_contained_in_all_of_its_bits():
    smallest = {one.bits: one for one in SPACE.smallest()}
    assert list(smallest) == ["fp32", "int8", "int4"]
    narrow = [one for one in every(SPACE) if one.table]
    assert all(SPACE.contains(one, smallest[one.bits]) for one in narrow)


def answers(one: Candidate) -> tuple[float, float, float]:
    """Made-up bytes, milliseconds and quality: more of anything is better, larger and slower."""
    return float(SPACE.floor(one)), one.layers / 2, (one.layers + one.ffn / 512 + one.pieces / 500) / 12


def proposals(budget: Budget, seed: int, most: int = 40) -> list[Candidate]:
    found = []
    for one, tell in Search(SPACE, budget, seed).propose(most):
        found.append(one)
        tell(*answers(one))
    return found


def test_the_same_seed_comes_by_the_same_way_and_never_twice():
    budget = Budget(max_size=8_000_000, max_latency=2.5)
    found = proposals(budget, seed=1)
    assert found == proposals(budget, seed=1)
    assert found != proposals(budget, seed=2)
    assert len(set(found)) == len(found) > len(list(SPACE.starts()))


def test_broken_limits_steer_away_from_what_does_not_fit():
    """After the starts, which are mostly too large, proposals fit more often than all that there is."""

    def share(of: list[Candidate]) -> float:
        return sum(tight.fits(*answers(one)[:2]) for one in of) / len(of)

    tight = Budget(max_size=2_000_000, max_latency=2.0)
    found = [one for seed in range(2) for one in proposals(tight, seed)[len(list(SPACE.starts())) :]]
    assert share(found) > 1.5 * share(every(SPACE))


def test_the_front_is_what_no_other_beats():
    rng = random.Random(3)
    points = [(rng.randrange(6), rng.randrange(6), rng.randrange(6)) for _ in range(80)]
    found = set(front(points, lambda point: (float(point[0]), float(point[1]), float(point[2]))))
    for point in points:
        beaten = any(
            other[0] <= point[0] and other[1] <= point[1] and other[2] >= point[2] and other != point
            for other in points
        )
        assert (point in found) == (not beaten)
    assert 1 < len(found) < len(set(points))


def rows() -> list[Row]:
    first, second, third = (Candidate(pieces=pieces, bits="int8") for pieces in (300, 200, 100))
    made = Row(candidate=first, state=TRAINED, look=0.9, bytes=3_000_000, latency=2.0, quality=0.97)
    made.predicted = {"bytes": 3_000_100, "latency": 2.1}
    looked = Row(candidate=second, state=LOOKED_AT, look=0.8, predicted={"bytes": 2_000_000, "latency": 1.0})
    large = Row(candidate=third, state=TOO_LARGE, why="by its weights alone", least=(9e6, 0.0))
    return [made, looked, large]


def test_an_artifact_counts_by_its_own_figures():
    made, looked, _ = rows()
    assert made.figures == (3_000_000, 2.0, 0.97)
    assert looked.figures == (2_000_000, 1.0, 0.8)
    assert made.meets(Budget(max_size=3_000_000, min_quality=0.97))
    assert not made.meets(Budget(max_size=3_000_000, min_quality=0.98))
    assert not made.meets(Budget(max_size=2_999_999, min_quality=0.9))
    assert not looked.meets(Budget(max_size=3_000_000, min_quality=0.5))  # not made yet
    assert Row(candidate=made.candidate, state=FITS, least=(5.0, 0.0)).figures == (5.0, 0.0, 0.0)


def test_the_page_says_what_was_chosen_lost_and_left():
    made, *others = rows()
    made.chosen = True
    steps = [
        {"step": "original", "bytes": 6_000_000, "latency": 4.0, "quality": 1.0},
        {"step": "fewer pieces", "bytes": 3_000_000, "latency": 2.0, "quality": 0.97},
    ]
    text = page("m compressed", Budget(max_size=4_000_000), [made, *others], steps, "compact-labse compress m")
    assert "Chosen: **300 pieces, int8**" in text
    assert "| fewer pieces | 3.00 | 2.00x | 2.00 | 2.00x | 0.9700 | +0.0300 |" in text
    assert "| 100 pieces, int8 | at least 9.000 |" in text and "too large: by its weights alone" in text
    assert [row[0].text for row in front_table([made, *others], "front").rows] == [
        "200 pieces, int8",
        "300 pieces, int8",
    ]
    assert steps_table(steps).rows[0][2].text == ""


def test_what_prune_cannot_do_is_not_proposed(tiny):
    module = TorchEncoder.open(tiny("labse"), device="cpu").module
    assert len(space_of(module, [300], plain_bag=False).options["heads"]) > 1
    module.modes = ("max",)  # a Dense after another pooling cannot be narrowed
    assert space_of(module, [300], plain_bag=False).options["heads"] == (2,)
    module.body.transformer.config.model_type = "albert"
    space = space_of(module, [300], plain_bag=False)
    assert {name: len(found) for name, found in space.options.items() if name != "bits"} == dict.fromkeys(
        ("pieces", "layers", "heads", "ffn", "table"), 1
    )
    assert space.original.layers == 2  # no bag of tokens
    assert space.floor(space.original) == 300 * 16 * 4


@pytest.mark.parametrize("name", ["minilm", "electra", "distilbert", "static"])
def test_the_space_is_made_of_sizes_that_prune_knows(tiny, name):
    module = TorchEncoder.open(tiny(name), device="cpu").module
    space = space_of(module, [300, 200], plain_bag=name == "static")
    assert space.original.pieces == 300
    assert space.bag == (name == "static")
    assert (len(space.options["table"]) > 1) == (name == "static")  # one head is as narrow as half the table
    if name == "electra":  # 8 values a head, and a table of 8: one head would need no projection
        assert 1 not in space.options["heads"]
    for size in ("pieces", "layers", "heads", "ffn", "table"):  # the original's first, and nothing twice
        found = list(space.options[size])
        assert found == sorted(set(found), key=lambda number: -number or -1e9), size  # 0: no smaller table
        assert found[0] == getattr(space.original, size), size
