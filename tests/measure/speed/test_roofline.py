"""Counted work against the graph's, the limit, and the shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_labse.measure.artifact import Artifact
from compact_labse.measure.results import Results
from compact_labse.measure.speed import roofline
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.peaks import peaks
from compact_labse.measure.speed.roofline import Sizes, Work, limit, products_in, record_roofline, shares
from compact_labse.settings import read_json
from tests.measure.records import model, speed

PEAKS: dict[str, Any] = {
    "fp32": [{"library": "x", "ops_per_s": 1e11}, {"library": "y", "ops_per_s": 5e10}],
    "bf16": [],
    "int8": [{"library": "x", "ops_per_s": 4e11}],
    "bandwidth": [{"library": "copy", "bytes_per_s": 1e10}],
}


@pytest.mark.parametrize("name", ["minilm", "labse", "electra", "distilbert", "xlmr"])
def test_counted_operations_are_those_of_the_modules(tiny: Callable[[str], Path], name: str):
    """Every linear layer's operations, as torch's own modules have them, for one token without attention."""
    torch = pytest.importorskip("torch")
    from compact_labse.torch_encoder import TorchEncoder

    folder = tiny(name)
    sizes = Sizes.of(read_json(folder / "config.json"))
    assert sizes is not None
    body = TorchEncoder.open(folder, device="cpu").module.body
    linears = [m for m in body.modules() if isinstance(m, torch.nn.Linear)]
    counted = sum(2 * m.weight.numel() for m in linears if "pooler" not in type(m).__name__.lower())
    ours = sizes.work(1, 1, "fp32").operations - sizes.layers * 4 * sizes.hidden
    pooler = 2 * sizes.hidden**2  # BERT's own pooler, which sentence encoders do not use
    assert ours in (counted, counted - pooler)


def test_work_grows_with_rows_and_weights_are_read_once():
    sizes = Sizes(hidden=4, inner=8, layers=2, table=4)
    one, four = sizes.work(1, 3, "fp32"), sizes.work(4, 3, "fp32")
    assert four.operations == 4 * one.operations
    assert four.bytes < 4 * one.bytes
    assert sizes.work(1, 3, "int8").bytes < one.bytes
    assert Sizes(hidden=4).work(2, 3, "int8") == Work(operations=24, bytes=24)
    assert Sizes.of({"vocab_size": 3}) is None


def test_the_limit_is_the_lower_of_compute_and_memory():
    assert limit(Work(operations=1e6, bytes=1e6), PEAKS, "fp32") == (1e10, "memory")
    assert limit(Work(operations=1e9, bytes=1e6), PEAKS, "fp32") == (1e11, "compute")


def test_shares_take_the_median_of_rounds_on_one_thread():
    sizes = Sizes(hidden=384, inner=1536, layers=6, table=384)
    cell = Cell(mode="fixed", batch=32, tokens=32)
    records = [speed(model("a"), ms, number, cell) for number, ms in enumerate((200.0, 100.0, 900.0))]
    records.append(speed(model("a"), 1.0, 0, Cell(mode="fixed", batch=32, tokens=32, threads=2)))
    found = shares(records, sizes, PEAKS, "int8")
    assert set(found) == {"32x32"}
    reached = sizes.work(32, 32, "int8").operations / 0.2
    assert found["32x32"]["share"] == pytest.approx(reached / 4e11, rel=1e-3)
    assert found["32x32"]["bound"] == "compute"


def test_peaks_are_measured_here():
    found = peaks(size=32, seconds=0.01)
    assert found["fp32"][0]["library"] == "numpy"
    assert all(each["ops_per_s"] > 0 for name in ("fp32", "bf16", "int8") for each in found[name])
    assert all(each["bytes_per_s"] > 1e7 for each in found["bandwidth"])


def test_what_cannot_be_counted_is_a_row_and_a_second_run_adds_nothing(
    tiny_copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(roofline, "measured_peaks", lambda: PEAKS)
    folder = tiny_copy("minilm")
    artifact = Artifact(**{**model("a"), "spec": str(folder)})
    results = Results()
    results.add(speed(artifact.record(), 5.0, 0))
    record_roofline(results, [artifact])
    assert results.records[-1]["values"]["cells"]["1x20"]["share"] > 0
    record_roofline(results, [artifact])
    assert [found["kind"] for found in results.records] == ["speed", "roofline"]
    (folder / "config.json").write_text("{}")
    results.add(speed(artifact.record(), 5.0, 1))
    record_roofline(results, [artifact])
    assert "does not say the sizes" in results.records[-1]["values"]["error"]


def test_number_formats_are_the_artifact_s_even_of_a_name(tiny: Callable[[str], Path]):
    """`default` was called fp32, because its file was not looked at."""
    from compact_labse.measure.artifact import open_all

    opened = open_all(["default", f"torch-bf16:{tiny('minilm')}", str(tiny("minilm"))], threads=1)
    assert [artifact.dtype for artifact, _ in opened] == ["int3", "bf16", "fp32"]
    assert [products_in(artifact.dtype) for artifact, _ in opened] == ["int8", "bf16", "fp32"]
    assert Sizes(hidden=8).work(2, 3, "int4").bytes == 24


def test_a_long_table_of_few_bits_is_limited_by_the_products_of_its_layers():
    sizes = Sizes(hidden=8, inner=16, layers=2, table=8)
    assert sizes.work(4, 4, "int8").bytes - sizes.work(4, 4, "int4").bytes == 4 * 4 * 8 / 2
    assert limit(Work(operations=1e9, bytes=1e6), PEAKS, "int4") == (4e11, "compute")
