"""Tables of arms and seeds, against means worked out by hand."""

from __future__ import annotations

from compact_labse.measure.arms import table


def record(label: str, value: float, dataset: str = "tatoeba") -> dict:
    means = {"36": {"xx_en": value, "en_xx": value + 1}}
    return {"kind": "quality", "model": {"label": label}, "config": {"dataset": dataset}, "values": {"means": means}}


def test_means_spreads_and_differences_of_the_same_seed():
    records = [record("base-0", 50.0), record("base-1", 54.0), record("local-0", 47.0), record("local-1", 50.0)]
    records += [{"kind": "failure"}, record("other-0", 1.0, dataset="sts")]
    lines = table(records, {"base": "all", "local": "own"}, [0, 1, 2], base="base").splitlines()
    assert lines[0].startswith("| arm | seeds | Tatoeba-29 xx→en | Tatoeba-29 en→xx | Tatoeba-36 xx→en |")
    assert lines[2] == "| base: all | 2 | - | - | 52.0 ± 2.8 | 53.0 ± 2.8 | - | - |"
    assert lines[3] == "| local: own | 2 | - | - | 48.5 ± 2.1 (-3.5 ± 0.7) | 49.5 ± 2.1 (-3.5 ± 0.7) | - | - |"


def test_an_arm_with_one_seed_has_no_spread_and_without_a_base_no_difference():
    text = table([record("local-3", 47.0)], {"base": "all", "local": "own"}, [3], base="base")
    assert "| local: own | 1 | - | - | 47.0 | 48.0 | - | - |" in text
    assert "base: all" not in text
