"""What runs a model while it is timed: our own encoders, peers' programs, and runtimes called bare.

A spec `RUNNER:MODEL` names one, a spec without it is ours. A peer runs in a Python that has it: this one, else the
environment of its name below `.peers/` (export/clients/environments.sh makes them).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.measure.speed.peer_encoders import (
    BareLiteRT,
    BareOnnx,
    FastEmbed,
    Open,
    SentenceTransformers,
    torch_at,
)
from compact_labse.pipelines import pipeline_folder

PEERS = Path(__file__).resolve().parents[3] / ".peers"
CHECKOUT = "a checkout of the project"  # neither peers nor the script that installs them are in the wheel


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How to run a model: the module that must be there, the environment that else has it, and what opens a model.

    `takes` are the endings of the files that it runs, "" for a folder; `modes` the cells that it can be timed in.
    `script` is a program for node that does all by itself, in bench/clients/.
    """

    module: str
    environment: str
    takes: tuple[str, ...]
    open: Open | None = None
    script: str = ""
    modes: tuple[str, ...] = ("fixed", "text", "long")


BARE, TEXT = ("fixed",), ("text", "long")
ONNX = (".onnx", ".ort")
RUNNERS: dict[str, Runner] = {
    "sentence-transformers": Runner(
        module="sentence_transformers", environment="peers", takes=("",), open=SentenceTransformers
    ),
    "sentence-transformers-onnx": Runner(
        module="optimum.onnxruntime", environment="optimum", takes=(".onnx",), open=SentenceTransformers
    ),
    "fastembed": Runner(module="fastembed", environment="peers", takes=(".onnx",), open=FastEmbed, modes=TEXT),
    "onnxruntime": Runner(module="onnxruntime", environment="", takes=ONNX, open=BareOnnx, modes=BARE),
    "foreign": Runner(module="onnxruntime", environment="", takes=ONNX, open=BareOnnx),
    "litert": Runner(module="ai_edge_litert", environment="", takes=(".tflite",), open=BareLiteRT, modes=BARE),
    "torch-fp32": Runner(module="torch", environment="", takes=("",), open=torch_at("fp32", False)),
    "torch-bf16": Runner(module="torch", environment="", takes=("",), open=torch_at("bf16", False)),
    "torch-compile": Runner(module="torch", environment="", takes=("",), open=torch_at("fp32", True)),
    "wasm-node": Runner(
        module="onnxruntime-web", environment="node", takes=(".onnx",), script="wasm-node.mjs", modes=("fixed", "text")
    ),
    "wasm-chromium": Runner(
        module="onnxruntime-web",
        environment="node",
        takes=(".onnx",),
        script="wasm-chromium.mjs",
        modes=("fixed", "text"),
    ),
}


def split_runner(spec: str) -> tuple[str, str]:
    """`fastembed:folder/model.onnx` as runner and model; the runner is "" for our own encoders."""
    name, colon, rest = spec.partition(":")
    return (name, rest) if colon and name in RUNNERS else ("", spec)


def runtime_of(name: str) -> str:
    """What results call a runner: one that is a runtime of ours, called bare, must not be taken for ours."""
    return f"bare {name}" if RUNNERS[name].modes == BARE else name


def check_runner(name: str, path: Path) -> None:
    """UserError if this runner cannot take that kind of path."""
    takes = RUNNERS[name].takes
    kind = "" if path.is_dir() else path.suffix
    if kind not in takes:
        wanted = " or ".join(f"a {suffix} file" if suffix else "a model folder" for suffix in takes)
        raise UserError(f"{name} takes {wanted}, got {path}")


def command_of(spec: str, request: dict[str, Any]) -> list[str]:
    """The command that answers a request for a measurement. UserError that says what is missing, and how to get it."""
    name, model = split_runner(spec)
    found = RUNNERS.get(name)
    if found is not None and found.script:
        if request["cell"]["mode"] not in found.modes:
            raise UserError(f"not measured: {name} has no {request['cell']['mode']} runs")
        folder = str(tokenizer_folder(Path(model)))
        return ["node", str(_placed(found)), json.dumps({**request, "spec": model, "folder": folder})]
    return [python_of(name), "-m", "compact_labse.measure.speed.latency", json.dumps(request)]


def python_of(runner: str) -> str:
    """The Python that has what a runner needs. UserError that says how to make one."""
    found = RUNNERS.get(runner)
    if found is None or _has(found.module):
        return sys.executable
    place = PEERS / found.environment / "venv" / "bin" / "python"
    if found.environment and place.is_file():
        return str(place)
    raise _missing(found)


def _placed(runner: Runner) -> Path:
    """A script and what it imports, copied to where node finds its modules."""
    place = PEERS / runner.environment
    if not (place / "node_modules" / runner.module).is_dir():
        raise _missing(runner)
    for script in (pipeline_folder("bench") / "clients").glob("*.mjs"):
        (place / script.name).write_bytes(script.read_bytes())
    return place / runner.script


def _missing(runner: Runner) -> UserError:
    remedy = f" (in {CHECKOUT}: export/clients/environments.sh {runner.environment} .peers/{runner.environment})"
    return UserError(f"not measured: {runner.module} is not installed{remedy if runner.environment else ''}")


def open_spec(spec: str, threads: int, device: str = "cpu", mode: str = "fixed") -> Encoder:
    """The encoder of a spec, to be timed in this process. UserError if its runner cannot be timed in this mode."""
    runner, model = split_runner(spec)
    if not runner:
        return load(model, threads=threads, device=device)
    if mode not in RUNNERS[runner].modes:
        raise UserError(
            f"not measured: {runner} takes {'texts, not tokens' if mode == 'fixed' else 'tokens, not texts'}"
        )
    open = RUNNERS[runner].open
    assert open is not None, f"{runner} is a program of its own"
    return open(Path(model), threads, device)


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
