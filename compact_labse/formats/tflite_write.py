"""One TFLite artifact after the other: convert it, refuse what phones cannot run, hold it to its gates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.formats import tflite_file, tflite_graph
from compact_labse.formats.agreement import Reference
from compact_labse.formats.contract import TFLITE_FILES, Facts
from compact_labse.formats.export_folder import remove
from compact_labse.formats.parity import Limits, Parity, judge
from compact_labse.progress import say
from compact_labse.tflite_encoder import TFLiteEncoder
from compact_labse.torch_encoder import TorchEncoder

RECIPES = {"fp32": "float", "fp16": "half", "int8": "dynamic-range", "int4": "dynamic-range, 4-bit table"}
SHOWN = ("worst_cosine", "language_cosine", "neighbours", "invariance")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all artifacts of one export share: the source, what converts it, and the texts that the gates look at."""

    source: TorchEncoder
    converter: str
    test: Mapping[str, list[str]]

    @cached_property
    def tested(self) -> Reference:
        return Reference.of(self.source, self.test)


def write(job: Job, folder: Path, kind: str, limits: Limits) -> tuple[dict[str, Any], Parity]:
    """Write one artifact into `folder` and measure it; gives its entry for `parity.json` and what the gates found.

    `kind` is a key of `TFLITE_FILES`. UserError if the file needs custom operators or passes 2 GB. The caller decides
    what a failed gate means.
    """
    path = folder / TFLITE_FILES[kind]
    started = time.monotonic()
    remove(folder, path.name)
    facts = facts_of(job, kind)
    content = tflite_file.with_metadata(
        tflite_graph.convert(job.source, kind, job.converter), tflite_file.facts_entry(facts), "compact-labse"
    )
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
