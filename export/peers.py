"""Run software that nobody here wrote on an export, and note how far its vectors are from the source's.

    python export/peers.py EXPORT SOURCE --name NAME [--only CLIENT ...] [--files FILE ...] [--build]

Environments lie in `.peers/`; `--build` makes those that are missing (clients/environments.sh), else their clients are
noted as not run. Results go to results/peers.jsonl, one line for each client, format and model, replacing its earlier
one; `python export/peers_table.py` makes README's table of them.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from compact_labse import load, sample
from compact_labse.errors import UserError
from compact_labse.folder import sha256_file
from compact_labse.formats.gates.expected import EXPECTED, expected_texts
from compact_labse.progress import say

HERE = Path(__file__).resolve().parent
CLIENTS, RESULTS, PLACE = HERE / "clients", HERE / "results" / "peers.jsonl", HERE.parent / ".peers"
OURS = "our environment"
ONNX = ("model.onnx", "model_fp16.onnx", "model_int8.onnx", "model_int4.onnx", "model_int3.onnx")
DTYPES = {"model.onnx": "fp32", "model_fp16.onnx": "fp16", "model_int8.onnx": "int8"}
TFLITE = ("model.tflite", "model_fp16.tflite", "model_int8.tflite", "model_int8_static.tflite", "model_int4.tflite")
MEDIAPIPE = ("model_mediapipe.tflite", "model_int8_mediapipe.tflite")
PER_LANGUAGE, SECONDS = 10, 1200


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A program that embeds, and how to ask it.

    In `command` and `version`, {env} is the environment's folder, {export} and {source} the model's, {file} the file's
    name and {dtype} what transformers.js calls it, {expected} the texts. `bags` and `transformers` say which models it
    can read, `few` that it is so slow that it gets a tenth of the texts.
    """

    client: str
    environment: str
    version: tuple[str, ...]
    command: tuple[str, ...]
    files: tuple[str, ...] = ONNX
    bags: bool = True
    transformers: bool = True
    few: bool = False


def _pip(environment: str, package: str) -> tuple[str, ...]:
    python = sys.executable if environment == OURS else "{env}/venv/bin/python"
    return (python, "-c", f"import importlib.metadata as m; print(m.version({package!r}))")


def _python(environment: str, script: str, place: str = "{export}") -> tuple[str, ...]:
    python = sys.executable if environment == OURS else "{env}/venv/bin/python"
    return (python, f"{CLIENTS}/peers/{script}", place, "{file}", "{expected}")


def _node(package: str) -> tuple[str, ...]:
    return ("node", "-p", f"JSON.parse(fs.readFileSync('{{env}}/node_modules/{package}/package.json')).version")


ARM = ("{env}/x/usr/bin/qemu-aarch64", "-L", "{env}/root", "-E", "PYTHONPATH={env}/site", "{env}/root/usr/bin/python3")
KOTLIN = "{env}/out:{env}/jars/kotlin-stdlib-2.3.10-RC.jar:{env}/runtime.jar"
ORT_VERSION = "import onnxruntime; print(onnxruntime.__version__)"
PEERS = (
    Peer(client="sentence-transformers", environment=OURS, version=_pip(OURS, "sentence-transformers"),
         command=_python(OURS, "sentence_transformers_peer.py", "{source}"), files=("torch",)),
    Peer(client="sentence-transformers, backend onnx", environment="optimum",
         version=_pip("optimum", "sentence-transformers"),
         command=_python("optimum", "sentence_transformers_peer.py"), bags=False),
    Peer(client="fastembed", environment="peers", version=_pip("peers", "fastembed"),
         command=_python("peers", "fastembed_peer.py")),
    Peer(client="txtai", environment="peers", version=_pip("peers", "txtai"),
         command=_python("peers", "txtai_peer.py", "{source}"), files=("torch",)),
    Peer(client="infinity, engine optimum", environment="infinity", version=_pip("infinity", "infinity-emb"),
         command=_python("infinity", "infinity_peer.py")),
    Peer(client="transformers.js, node", environment="node", version=_node("@huggingface/transformers"),
         command=("node", "{env}/transformers_js.mjs", "{export}", "{dtype}", "{expected}"), files=tuple(DTYPES)),
    Peer(client="transformers.js, Chromium", environment="node", version=_node("@huggingface/transformers"),
         command=("node", "{env}/run.mjs", "{export}", "{dtype}", "{expected}"), files=tuple(DTYPES)),
    Peer(client="onnxruntime-web, node", environment="node", version=_node("onnxruntime-web"),
         command=("node", "{env}/onnxruntime_web.mjs", "{export}", "{file}", "{expected}")),
    Peer(client="onnxruntime, Python", environment=OURS, version=_pip(OURS, "onnxruntime"),
         command=(sys.executable, f"{CLIENTS}/python/onnx_client.py", "{export}", "onnx/{file}", "{expected}")),
    Peer(client="onnxruntime, C++", environment="cpp", version=_node("onnxruntime-node"),
         command=("{env}/client", "{export}", "{file}", "{expected}")),
    Peer(client="onnxruntime, Kotlin on the JVM", environment="kotlin", version=("echo", "1.17.0"),
         command=("java", "-cp", KOTLIN, "OnnxClientKt", "{export}", "{file}", "{expected}")),
    Peer(client="onnxruntime, Swift on Linux", environment="swift", version=_node("onnxruntime-node"),
         command=(f"{CLIENTS}/swift/run.sh", "{env}/root", "{export}", "{file}", "{expected}")),
    Peer(client="onnxruntime, Python on aarch64 (qemu)", environment="aarch64", version=(*ARM, "-c", ORT_VERSION),
         command=(*ARM, f"{CLIENTS}/python/onnx_client.py", "{export}", "onnx/{file}", "{expected}"), few=True),
    Peer(client="LiteRT with XNNPACK, Python", environment=OURS, version=_pip(OURS, "ai-edge-litert"), files=TFLITE,
         command=(sys.executable, f"{CLIENTS}/python/litert_client.py", "{export}", "tflite/{file}", "{expected}")),
    Peer(client="LiteRT, Python on aarch64 (qemu)", environment="aarch64", files=TFLITE, few=True,
         version=(*ARM, "-c", "import importlib.metadata as m; print(m.version('ai-edge-litert'))"),
         command=(*ARM, f"{CLIENTS}/python/litert_client.py", "{export}", "tflite/{file}", "{expected}")),
    Peer(client="MediaPipe TextEmbedder", environment="peers", version=_pip("peers", "mediapipe"), files=MEDIAPIPE,
         command=_python("peers", "mediapipe_peer.py")),
    Peer(client="TensorFlow Hub, tf-keras", environment=OURS, version=_pip(OURS, "tensorflow-hub"),
         command=_python(OURS, "hub_peer.py"), files=("serving", "encoder")),
    Peer(client="Model Garden, its hub reader", environment="garden", version=_pip("garden", "tf-models-official"),
         command=_python("garden", "model_garden_peer.py"), files=("encoder",), bags=False),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model under test: its name in the table, its export, its source, and a folder for files of texts."""

    name: str
    export: Path
    source: Path
    work: Path

    @property
    def bag(self) -> bool:
        """Whether the model is a bag of tokens."""
        return "StaticEmbedding" in (self.export / "modules.json").read_text("utf-8")

    def folder(self, file: str) -> str:
        """The folder of an artifact inside the export."""
        return "tflite" if file.endswith(".tflite") else "onnx" if file.endswith((".onnx", "torch")) else "saved_model"

    def has(self, file: str) -> bool:
        """Whether there is such an artifact."""
        return file == "torch" or (self.export / self.folder(file) / file).exists()

    def expected(self, file: str, few: bool) -> Path:
        """The texts, their ids and the source's vectors for one artifact, in the format of `expected.json`."""
        kind = self.folder(file)
        noted = sha256_file(self.export / kind / EXPECTED)[:8]  # another export of that name has other vectors
        path = self.work / f"{self.name}-{noted}-{kind}-{'few' if few else 'all'}.json"
        if not path.is_file():
            path.write_text(json.dumps(self._content(kind, few)), encoding="utf-8")
        return path

    def _content(self, kind: str, few: bool) -> dict[str, Any]:
        encoder = load(str(self.source), device="cpu")
        texts = chosen(1 if few else PER_LANGUAGE)
        rows = zip(texts, encoder.tokenize(texts), encoder.encode(texts), strict=True)
        noted = json.loads((self.export / kind / EXPECTED).read_text("utf-8"))["artifacts"]
        artifacts = {**noted, "torch": {"worst_cosine": 0.99999}}
        return {"artifacts": artifacts, "texts": [{"text": a, "ids": b, "vector": c.tolist()} for a, b, c in rows]}


def chosen(per_language: int) -> list[str]:
    """The stated texts: the first of every language of the sample's test part, and strings that break tokenizers."""
    hard = [text for language, text in expected_texts() if language == "hard" and text]
    return [text for texts in sample.parallel("test").values() for text in texts[:per_language]] + hard


def runs(peers: Sequence[Peer], subject: Subject) -> Iterator[dict[str, Any]]:
    """Run what can be run, and give a record for each client and file."""
    for peer in peers:
        fits = peer.bags if subject.bag else peer.transformers
        place = PLACE / peer.environment
        if fits and peer.environment != OURS and not (place / ".built").is_file():
            yield _record(peer, subject, "", "", note=f"environment {peer.environment} is not built")
            continue
        for script in [*CLIENTS.glob("node/*"), *CLIENTS.glob("web/*")] if peer.environment == "node" else []:
            (place / script.name).write_bytes(script.read_bytes())  # modules are found from where a script lies
        for file in (file for file in peer.files if fits and subject.has(file)):
            yield _run(peer, subject, file, place)


def _run(peer: Peer, subject: Subject, file: str, place: Path) -> dict[str, Any]:
    expected = subject.expected(file, peer.few)
    names = {"env": place, "export": subject.export, "source": subject.source, "file": file, "expected": expected,
             "dtype": DTYPES.get(file, "")}  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false",
                   "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": SECONDS, "env": environment}
    version = subprocess.run([word.format(**names) for word in peer.version], **settings, check=False)
    try:
        done = subprocess.run([word.format(**names) for word in peer.command], **settings, check=False)
    except subprocess.TimeoutExpired:
        return _record(peer, subject, file, version.stdout, note=f"no answer in {SECONDS} s")
    found = re.search(r"worst cosine (-?[\d.]+|NaN|nan) of (\d+) texts", done.stdout)
    if not found:
        words = " ".join((done.stderr or done.stdout).split())[-160:]
        return _record(peer, subject, file, version.stdout, note=words or f"exit code {done.returncode}")
    measured = {"worst": float(found[1]), "texts": int(found[2]), "passed": done.returncode == 0}
    return {**_record(peer, subject, file, version.stdout), **measured}


def _record(peer: Peer, subject: Subject, file: str, version: str, note: str = "") -> dict[str, Any]:
    lines = version.split()
    facts = {"client": peer.client, "version": lines[-1] if lines else "", "format": file, "model": subject.name}
    return {**facts, "passed": False, "note": note, "date": date.today().isoformat()}


def store(record: dict[str, Any], path: Path = RESULTS) -> None:
    """Put a record into the file of results, in place of the earlier one of the same client, format and model."""
    keys = ("client", "format", "model")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    kept = [line for line in lines if any(json.loads(line)[key] != record[key] for key in keys)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in [*kept, json.dumps(record)]), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the peers on one export; 1 if one of them gets other vectors."""
    parser = argparse.ArgumentParser(description="run software of others on an export")
    parser.add_argument("export", type=Path, help="folder with tokenizer, settings, onnx/ and tflite/")
    parser.add_argument("source", type=Path, help="the sentence-transformers folder that it was made from")
    parser.add_argument("--name", required=True, help="what the table calls the model")
    parser.add_argument("--only", nargs="*", help="clients whose names start so")
    parser.add_argument("--files", nargs="*", help="artifacts, such as model_int8.onnx (default: all)")
    parser.add_argument("--build", action="store_true", help="build the environments that are missing")
    args = parser.parse_args(argv)
    peers = [peer for peer in PEERS if not args.only or peer.client.startswith(tuple(args.only))]
    if args.files:
        peers = [replace(peer, files=tuple(file for file in peer.files if file in args.files)) for peer in peers]
    if not peers:
        raise UserError(f"no client is called so; known: {', '.join(peer.client for peer in PEERS)}")
    for name in sorted({peer.environment for peer in peers} - {OURS}) if args.build else []:
        if not (PLACE / name / ".built").is_file():
            say(f"environment {name}")
            if subprocess.run([CLIENTS / "environments.sh", name, PLACE / name]).returncode:
                raise UserError(
                    f"the environment {name} could not be built (see above); environments.sh says what it wants"
                )
    work = PLACE / "texts"
    work.mkdir(parents=True, exist_ok=True)
    subject = Subject(name=args.name, export=args.export.resolve(), source=args.source.resolve(), work=work)
    failed = 0
    for record in runs(peers, subject):
        store(record)
        failed += not record["passed"]
        say(f"{record['client']} {record['format']}: {record.get('worst', record['note'])}")
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"error: {error}")
