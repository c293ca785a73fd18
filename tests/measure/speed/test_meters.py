"""Energy and graphics cards, with files and libraries that stand for the real ones."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from compact_labse.measure.speed import energy, gpu
from compact_labse.measure.speed.energy import NotCounted, metered, rapl
from compact_labse.measure.speed.gpu import NoGpu, card, watched


def zone(root: Path, name: str, microjoules: int) -> None:
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / "energy_uj").write_text(f"{microjoules}\n")


def test_rapl_adds_packages_and_not_their_parts(tmp_path: Path):
    for name, value in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 1_000_000), ("intel-rapl:0:1", 900_000)):
        zone(tmp_path, name, value)
    read, source = rapl(tmp_path)
    assert (read(), source) == (6.0, "RAPL")
    zone(tmp_path, "intel-rapl:0", 7_500_000)
    assert read() == 8.5


def test_what_is_not_counted_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(NotCounted, match="shows no RAPL"):
        rapl(tmp_path / "none")
    with pytest.raises(NotCounted, match="no package counter"):
        rapl(tmp_path)
    monkeypatch.setattr(energy, "rapl", lambda: rapl(tmp_path))
    with metered() as found:
        pass
    assert found == {"not_measured": f"{tmp_path} has no package counter"}


@pytest.mark.parametrize(("after", "expected"), [(6_000_000, 4.0), (1_000_000, None)])
def test_energy_is_the_difference_and_a_wrapped_counter_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, expected: float | None
):
    zone(tmp_path, "intel-rapl:0", 2_000_000)
    monkeypatch.setattr(energy, "rapl", lambda: rapl(tmp_path))
    with metered() as found:
        zone(tmp_path, "intel-rapl:0", after)
    assert found.get("joules") == expected
    assert ("wrapped" in found.get("not_measured", "")) == (expected is None)


def library() -> ModuleType:
    found = ModuleType("pynvml")
    counter = iter(range(0, 10_000, 500))
    vars(found).update(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: f"card {index}",
        nvmlDeviceGetName=lambda handle: b"Card",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=1000),
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=50),
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: next(counter),
    )
    return found


def test_a_card_is_watched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pynvml", library())
    with watched() as found:
        time.sleep(0.01)
    assert found.pop("looks") >= 1
    assert found == {"name": "Card", "peak_bytes": 1000, "use_percent": 50.0}
    with metered("cuda") as spent:
        pass
    assert spent["joules"] > 0
    assert spent["source"] == "NVML"


def test_without_a_card_the_reason_is_kept(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpu, "MODULES", ("no_such_module",))
    with pytest.raises(NoGpu, match="pip install nvidia-ml-py"):
        card()
    with watched() as found:
        pass
    assert found["not_measured"].startswith("no GPU")
    broken = library()

    def fail() -> None:
        raise RuntimeError("driver not loaded")

    broken.nvmlInit = fail  # type: ignore[attr-defined]
    monkeypatch.setattr(gpu, "MODULES", ("pynvml",))
    monkeypatch.setitem(sys.modules, "pynvml", broken)
    with pytest.raises(NoGpu, match=r"no GPU \(driver not loaded\)"):
        card()
