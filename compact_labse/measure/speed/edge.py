"""What an edge suite checks beside speed: the same vectors on aarch64, and LiteRT's own benchmark program."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.gates.expected import EXPECTED
from compact_labse.locate import EMBEDDED, locate
from compact_labse.measure.artifact import Artifact
from compact_labse.measure.results import Results, record
from compact_labse.measure.runs import record_failure
from compact_labse.measure.speed.runners import CHECKOUT, PEERS
from compact_labse.pipelines import pipeline_folder
from compact_labse.progress import say

SECONDS = 600
CLIENTS = {".onnx": "onnx_client.py", ".ort": "onnx_client.py", ".tflite": "litert_client.py"}


def record_edge(results: Results, artifacts: Sequence[Artifact]) -> None:
    """Run both checks on every file of ours, or note why not; what the results have is not done again."""
    for artifact in artifacts:
        path = locate(artifact.spec) if artifact.spec in EMBEDDED else Path(artifact.spec)
        if artifact.runner or path.suffix not in CLIENTS:
            continue
        checks: dict[str, Callable[[Path], dict[str, Any]]] = {"aarch64 under qemu": aarch64}
        if path.suffix == ".tflite":
            checks["benchmark_model"] = benchmark_model
        for name, check in checks.items():
            config = {"check": name}
            if results.find("edge", artifact.record(), config) is None:
                say(f"edge: {artifact.label}, {name}")
                try:
                    results.add(record("edge", artifact.record(), config, check(path)))
                except UserError as reason:
                    record_failure(results, artifact, "edge", config, name, str(reason))


def aarch64(path: Path, peers: Path | None = None) -> dict[str, Any]:
    """The worst cosine with the vectors that lie beside the file, computed by an emulated ARM processor.

    For correctness only: an emulator's times say nothing. UserError if there is no emulator, or the vectors differ.
    """
    place = (peers or PEERS) / "aarch64"
    qemu = place / "x/usr/bin/qemu-aarch64"
    if not qemu.is_file():
        raise UserError(
            f"not measured: no emulator (in {CHECKOUT}: export/clients/environments.sh aarch64 .peers/aarch64)"
        )
    if not (path.parent / EXPECTED).is_file():
        raise UserError(f"not measured: no {EXPECTED} beside {path.name}")
    folder = tokenizer_folder(path)
    client = pipeline_folder("export") / "clients" / "python" / CLIENTS[path.suffix]
    python = [str(qemu), "-L", f"{place}/root", "-E", f"PYTHONPATH={place}/site", f"{place}/root/usr/bin/python3"]
    command = [*python, str(client), str(folder.resolve()), str(path.relative_to(folder))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(f"no answer in {SECONDS} s") from None
    found = re.search(r"worst cosine (-?[\d.]+) of (\d+) texts", done.stdout)
    if not found:
        words = " ".join((done.stderr or done.stdout).split())[-160:]
        raise UserError(words or f"exit code {done.returncode}")
    if done.returncode:
        raise UserError(f"other vectors: worst cosine {found[1]} of {found[2]} texts")
    return {"worst_cosine": float(found[1]), "texts": int(found[2])}


def benchmark_model(path: Path, threads: int = 1) -> dict[str, Any]:
    """Mean milliseconds of an inference by TensorFlow Lite's benchmark program, if it is on the PATH."""
    program = shutil.which("benchmark_model")
    if program is None:
        raise UserError("not measured: benchmark_model is not on the PATH")
    command = [program, f"--graph={path}", f"--num_threads={threads}", "--use_xnnpack=true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = re.search(r"Inference \(avg\): ([\d.e+]+)", done.stdout + done.stderr)
    if not found:
        raise UserError(f"benchmark_model gave no figure (exit code {done.returncode})")
    return {"mean_ms": float(found[1]) / 1000, "threads": threads}
