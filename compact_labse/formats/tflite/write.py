"""One TFLite artifact after the other: convert it, refuse what phones cannot run, hold it to its gates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from compact_labse.errors import Unsuitable, UserError
from compact_labse.folder import model_hash
from compact_labse.formats.contract import TFLITE_FILES, Facts
from compact_labse.formats.export_folder import remove
from compact_labse.formats.gates.agreement import Reference
from compact_labse.formats.gates.parity import Limits, Parity, judge
from compact_labse.formats.tflite import file as tflite_file
from compact_labse.formats.tflite import graph as tflite_graph
from compact_labse.formats.tflite import mediapipe
from compact_labse.progress import say
from compact_labse.tflite_encoder import TFLiteEncoder
from compact_labse.tokens import Tokens
from compact_labse.torch_encoder import TorchEncoder

RECIPES = {
    "fp32": "float",
    "fp16": "half",
    "int8": "dynamic-range",
    "int8-static": "static",
    "int4": "dynamic-range, 4-bit table",
}
CALIBRATION_TEXTS = 12  # of each language
SHOWN = ("worst_cosine", "language_cosine", "neighbours", "invariance")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all artifacts of one export share: the source, what converts it, the texts that the gates look at, and those
    that fixed ranges are chosen on.

    Files for MediaPipe take one text of a fixed length, at which the source must cut, too (`cut_at`).
    """

    source: TorchEncoder
    converter: str
    test: Mapping[str, list[str]]
    calibration: Mapping[str, list[str]] = field(default_factory=dict)
    mediapipe: bool = False

    @cached_property
    def tested(self) -> Reference:
        return Reference.of(self.source, self.test)


def write(job: Job, folder: Path, kind: str, limits: Limits) -> tuple[dict[str, Any], Parity]:
    """Write one artifact into `folder` and measure it; gives its entry for `parity.json` and what the gates found.

    `kind` is a key of `TFLITE_FILES`. UserError if the file needs custom operators or passes 2 GB. The caller decides
    what a failed gate means.
    """
    refuse_unsuitable(job, kind)
    path = folder / name_of(job, kind)
    started = time.monotonic()
    remove(folder, path.name)
    facts = facts_of(job, kind)
    content = _content(job, kind, facts)
    if len(content) > tflite_file.LIMIT:
        raise UserError(f"{path.name} would be {len(content) / 1e9:.1f} GB, and TFLite takes 2 at most: use --int8")
    path.write_bytes(content)
    tflite_file.refuse_custom(path)
    parity = judge(job.tested, TFLiteEncoder.open(path), limits)
    worst = parity.measured.worst()
    figures = ", ".join(f"{name.replace('_', ' ')} {worst[name].value:.5f}" for name in SHOWN if name in worst)
    say(f"tflite {kind}: {len(content) / 1e6:.1f} MB, {time.monotonic() - started:.0f} s: {figures}")
    made = {name: value for name, value in asdict(facts).items() if name in ("dtype", "recipe", "source")}
    return {"format": kind, "converter": job.converter, **made, "batch_invariant": True, **parity.report()}, parity


def refuse_unsuitable(job: Job, kind: str) -> None:
    """Unsuitable if fixed ranges are asked for where nothing could be in them, or of a converter that has none."""
    if kind != "int8-static":
        return
    if not hasattr(job.source.module.body, "transformer"):
        raise Unsuitable(f"{job.source.name} is a table without linear layers: there is nothing for --{kind} to do")
    if job.converter != "tensorflow":
        raise Unsuitable(f"--{kind} needs TensorFlow: pip install 'compact-labse[tflite,tensorflow]'; --int8 does not")


def name_of(job: Job, kind: str) -> str:
    """The name of an artifact: `model_int8.tflite`, and `model_int8_mediapipe.tflite` for MediaPipe."""
    name = TFLITE_FILES[kind]
    return f"{name.removesuffix('.tflite')}_mediapipe.tflite" if job.mediapipe else name


def cut_at(encoder: TorchEncoder, longest: int) -> TorchEncoder:
    """The encoder, cutting texts at `longest` tokens if it does not cut them earlier."""
    if encoder.max_tokens is not None and encoder.max_tokens <= longest:
        return encoder
    old = encoder.tokens
    tokenizer = Tokenizer.from_str(old.tokenizer.to_str())
    tokens = Tokens(tokenizer, max_tokens=longest, special=old.special, prefix=old.prefix, pad_id=old.pad_id)
    return TorchEncoder(encoder.module, tokens, name=encoder.name, source=encoder.source, device="cpu")


def _content(job: Job, kind: str, facts: Facts) -> bytes:
    """The bytes of an artifact."""
    texts = [text for group in job.calibration.values() for text in group[:CALIBRATION_TEXTS]]
    if not job.mediapipe:
        model = tflite_graph.convert(job.source, kind, job.converter, texts)
        return tflite_file.with_metadata(model, tflite_file.facts_entry(facts), "compact-labse")
    vocabulary = mediapipe.vocabulary_of(job.source.tokens)
    model = tflite_graph.convert_dynamic(job.source, kind, (1, job.source.max_tokens), texts=texts)
    return mediapipe.with_tokenizer(tflite_file.with_metadata(model, tflite_file.facts_entry(facts)), vocabulary)


def facts_of(job: Job, kind: str) -> Facts:
    """What a reader must know, as it is stored in the file."""
    source = job.source
    assert source.source is not None
    static = not hasattr(source.module.body, "transformer")
    return Facts(
        dim=source.dim,
        pooling="+".join(source.module.modes),
        dtype=kind,
        recipe=RECIPES[kind] if not static or kind in ("fp32", "fp16") else "tables",
        max_tokens=source.max_tokens or 0,
        pad_id=source.tokens.pad_id,
        special_tokens=source.tokens.special,
        prompt=source.tokens.prefix,
        languages=",".join(job.test),
        source=model_hash(source.source),
    )
