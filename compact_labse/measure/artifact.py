"""What is measured: a model with a short label, its hash, its runtime and the bytes that must be shipped for it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compact_labse.encoder import Encoder, load
from compact_labse.errors import UserError
from compact_labse.folder import model_hash, read_lineage, sha256_file
from compact_labse.formats.artifacts import entries
from compact_labse.locate import locate
from compact_labse.measure.origins import dtype_of, made_from
from compact_labse.measure.speed.peer_encoders import BareOnnx
from compact_labse.measure.speed.runners import ONNX, check_runner, runtime_of, split_runner

_RUNTIMES = {".onnx": "onnxruntime", ".ort": "onnxruntime", ".tflite": "litert"}
_FORMAT_FOLDERS = ("onnx", "tflite")
_PAIR_FILE = re.compile(r"(?:^|[/\\])en-([A-Za-z]{2,3}(?:-[A-Za-z]+)?)\.")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One thing that `load` opens. `artifact_bytes` are weights and graph, `tokenizer_bytes` the tokenizer's file.

    `hash` is the model's (of a folder with its tokenizer, of a file alone), `tokenizer_hash` the tokenizer's. `trained`
    lists the languages that the model saw, None if its makers do not say. `runner` names the peer's program or bare
    runtime that runs it, "" for our own; `marks` say what a reader should know, such as "no hash".
    """

    label: str
    spec: str
    hash: str
    tokenizer_hash: str
    runtime: str
    dim: int
    max_tokens: int | None
    artifact_bytes: int
    tokenizer_bytes: int
    trained: tuple[str, ...] | None = None
    dtype: str = "fp32"
    made_from: tuple[str, ...] = ()
    runner: str = ""
    marks: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        trained = None if self.trained is None else list(self.trained)
        return asdict(self) | {"trained": trained, "marks": list(self.marks), "made_from": list(self.made_from)}


def open_all(specs: Sequence[str], *, threads: int | None = None) -> list[tuple[Artifact, Encoder]]:
    """Load every model of a command line, so that a wrong path is reported before anything is measured.

    A spec is what `load` takes, or `LABEL=SPEC`; `RUNNER:SPEC` has a peer's program run it. An ONNX file that is not of
    our contract is run bare, and marked. UserError when two of them are the same.
    """
    if not specs:
        raise UserError("no model was given")
    named = [_split_label(spec) for spec in specs]
    labels = _labels(named)
    if len(set(labels)) != len(labels):
        double = next(label for label in labels if labels.count(label) > 1)
        raise UserError(f"{double!r} is given twice; drop one or name them apart with LABEL=MODEL")
    return [_open(spec, label, threads) for (_, spec), label in zip(named, labels, strict=True)]


def _open(spec: str, label: str, threads: int | None) -> tuple[Artifact, Encoder]:
    runner, model = split_runner(spec)
    if runner:
        path = locate(model)
        check_runner(runner, path)
        spec = f"{runner}:{path}"
    try:
        encoder = load(model, threads=threads)
        foreign: tuple[str, ...] = ()
    except UserError as error:
        if Path(model).suffix not in ONNX or not Path(model).is_file():
            raise
        try:
            encoder = BareOnnx(Path(model), threads or 1, "cpu")
        except Exception:  # whatever stops it, ours said it better
            raise error from None
        runner, foreign = runner or "foreign", (f"foreign: {error}",)
        spec = f"{runner}:{model}"
    return describe(encoder, spec=spec, label=label, runner=runner, marks=foreign), encoder


def describe(encoder: Encoder, *, spec: str, label: str, runner: str = "", marks: tuple[str, ...] = ()) -> Artifact:
    """Hash, runtime, sizes and training languages of a loaded encoder."""
    source = encoder.source
    tokenizer = _tokenizer_file(source)
    unhashed = source is not None and source.is_file() and source.name not in entries(source.parent)
    return Artifact(
        label=label,
        spec=spec,
        hash=model_hash(source) if source is not None else f"unhashed:{spec}",
        tokenizer_hash=sha256_file(tokenizer) if tokenizer else "",
        runtime=_runtime(source) if runner in ("", "foreign") else runtime_of(runner),
        dim=encoder.dim,
        max_tokens=encoder.max_tokens,
        artifact_bytes=_artifact_bytes(source),
        tokenizer_bytes=tokenizer.stat().st_size if tokenizer else 0,
        trained=trained_languages(source),
        dtype="bf16" if runner == "torch-bf16" else dtype_of(str(source or spec)),
        made_from=made_from(source),
        runner=runner,
        marks=(*marks, *(("no hash",) if unhashed else ())),
    )


def trained_languages(source: Path | None) -> tuple[str, ...] | None:
    """The languages that the lineage or manifest beside a model (or above its exports) names, else None.

    They are listed under `languages`, or follow from training files called `en-xx`.
    """
    if source is None:
        return None
    folder = source if source.is_dir() else source.parent
    for place in (folder, folder.parent) if source.is_file() else (folder,):
        for written in (read_lineage(place), _json_object(place / "manifest.json")):
            inputs = written.get("inputs") or {}
            languages = written.get("languages") or {found[1] for name in inputs if (found := _PAIR_FILE.search(name))}
            if languages:
                return tuple(sorted(map(str, languages)))
    return None


def _json_object(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _runtime(source: Path | None) -> str:
    if source is None:
        return "python"
    return "torch" if source.is_dir() else _RUNTIMES.get(source.suffix, source.suffix.lstrip("."))


def _artifact_bytes(source: Path | None) -> int:
    if source is None:
        return 0
    if source.is_file():
        # Weights of an ONNX file above 2 GB lie beside it, under its name.
        beside = [path for path in source.parent.glob(f"{source.name}*") if path.suffix in {".onnx_data", ".data"}]
        return sum(path.stat().st_size for path in {source, *beside})
    for pattern in _WEIGHTS:
        if weights := [*source.glob(pattern), *source.glob(f"[0-9]*_*/{pattern}")]:
            return sum(path.stat().st_size for path in weights)
    return 0


def _tokenizer_file(source: Path | None) -> Path | None:
    if source is None:
        return None
    places = [source, *source.glob("[0-9]*_*")] if source.is_dir() else [source.parent, source.parent.parent]
    for name in ("tokenizer.json", "vocab.txt"):
        for place in places:
            if (place / name).is_file():
                return place / name
    return None


def _split_label(spec: str) -> tuple[str | None, str]:
    label, equals, rest = spec.partition("=")
    return (label, rest) if equals and label and rest and "/" not in label else (None, spec)


def _labels(named: Sequence[tuple[str | None, str]]) -> list[str]:
    """Given labels, else the shortest endings of the paths that tell them apart: `student`, `student/model_int8`."""
    runners, paths = zip(
        *((runner, Path(path)) for runner, path in (split_runner(spec) for _, spec in named)), strict=True
    )
    parts = [_telling_parts(path) for path in paths]
    told = [(runner, part) for runner, part in zip(runners, parts, strict=True)]
    # Files of two runtimes that share a name are told apart by its ending.
    parts = [
        (*part[:-1], path.name) if told.count((runner, part)) > 1 else part
        for runner, part, path in zip(runners, parts, paths, strict=True)
    ]
    lengths = [2 if path.suffix in _RUNTIMES else 1 for path in paths]
    short = [spec for _, spec in named]
    for _ in range(max(map(len, parts), default=0)):
        ends = ["/".join(part[-length:]) for part, length in zip(parts, lengths, strict=True)]
        short = [f"{runner} {end}" if runner else end for runner, end in zip(runners, ends, strict=True)]
        lengths = [length + (short.count(text) > 1) for length, text in zip(lengths, short, strict=True)]
    return [label or text or spec for (label, spec), text in zip(named, short, strict=True)]


def _telling_parts(path: Path) -> tuple[str, ...]:
    """A path without what all exports have in common: the ending, and the folder that is named after the format."""
    file = path.suffix in _RUNTIMES
    parts = [part for part in path.parent.parts if part not in ("/", "..") and not (file and part in _FORMAT_FOLDERS)]
    return (*parts, path.stem if file else path.name)
