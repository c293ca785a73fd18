"""The loss on other people's accelerator stacks, on their CPU devices: value and every gradient are those of ours.

JAX: python -m venv jax && jax/bin/pip install jax==0.10.2; COMPACT_LABSE_JAX=jax/bin/python
torch_xla: python -m venv xla && xla/bin/pip install torch==2.9.0 torch_xla==2.9.0; COMPACT_LABSE_XLA=xla/bin/python
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from compact_labse.training.ranking import gathered_ranking

HERE = Path(__file__).resolve().parent
PAIRS, ANSWERS, WIDTH, DIM = 24, 2, 7, 5
NAMES = ("weight", "log_scale", "source", "answers")


def given() -> dict[str, np.ndarray]:
    """Pairs with a hard negative each, some of which share a text."""
    random = np.random.default_rng(3)
    keys = random.integers(0, 1 << 60, (PAIRS, ANSWERS, 2))
    keys[5, 0, 0], keys[17, 0, 1], keys[20, 1] = keys[2, 0, 0], keys[3, 0, 1], keys[9, 0]
    return {
        "weight": random.normal(size=(WIDTH, DIM)),
        "log_scale": np.array(np.log(20.0)),
        "margin": np.array(0.3),
        "source": random.normal(size=(PAIRS, WIDTH)),
        "answers": random.normal(size=(PAIRS, ANSWERS, WIDTH)),
        "keys": keys,
    }


def in_one_process(values: dict[str, np.ndarray], *, gathered: bool = True) -> dict[str, np.ndarray]:
    """Our loss and gradients of the whole batch, or of each eighth alone."""
    tensors = {name: torch.tensor(value) for name, value in values.items()}
    for name in NAMES:
        tensors[name].requires_grad_(True)
    inputs = torch.cat([tensors["source"][:, None], tensors["answers"]], 1)
    vectors = torch.nn.functional.normalize(torch.tanh(inputs @ tensors["weight"]), dim=-1)
    size = PAIRS if gathered else PAIRS // 8
    parts = zip(vectors.split(size), tensors["keys"].split(size), strict=True)
    settings = {"scale": tensors["log_scale"].exp(), "margin": float(values["margin"])}
    loss = torch.stack([gathered_ranking(*part, **settings).loss for part in parts]).mean()
    loss.backward()
    return {"loss": loss.detach().numpy(), **{name: tensors[name].grad.numpy() for name in NAMES}}


def elsewhere(variable: str, program: str, tmp_path: Path, **environment: str) -> dict[str, np.ndarray]:
    python = os.environ.get(variable, "")
    if not python or not Path(python).is_file():
        pytest.skip(f"needs the python of another environment in {variable}; the head of this file says how")
    np.savez(tmp_path / "in.npz", **given())
    command = [python, str(HERE / program), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    around = {**os.environ, "PYTHONPATH": str(HERE.parent), **environment}
    done = subprocess.run(command, capture_output=True, text=True, env=around, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(tmp_path / "out.npz"))


def check(found: dict[str, np.ndarray], devices: int) -> None:
    expected, local = in_one_process(given()), in_one_process(given(), gathered=False)
    assert found["devices"] == devices
    assert found["gathers"], "the compiled program has a collective"
    assert abs(local["loss"] - expected["loss"]) > 0.1, "without the gather the loss is another"
    for name, value in expected.items():
        assert np.abs(value).max() > 1e-4, f"{name}: a comparison of zeros proves nothing"
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_jax_on_eight_devices_finds_our_loss_and_gradients(tmp_path):
    flags = "--xla_force_host_platform_device_count=8"
    check(elsewhere("COMPACT_LABSE_JAX", "jax_program.py", tmp_path, XLA_FLAGS=flags, JAX_PLATFORMS="cpu"), 8)


@pytest.mark.slow
def test_torch_xla_runs_our_loss_on_two_devices(tmp_path):
    check(elsewhere("COMPACT_LABSE_XLA", "xla_program.py", tmp_path, PJRT_DEVICE="CPU", CPU_NUM_DEVICES="2"), 2)
