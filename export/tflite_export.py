"""Export a model to TFLite: TensorFlow twin -> converter -> gates -> files, all of them or none.

    compact-labse export MODEL --tflite --int8

With TensorFlow installed every file takes any batch and length; with litert-torch alone it has one signature each for
16, 32, 64 and 128 tokens. A folder of artifacts appears only if every one of them agrees with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compact_labse import load, sample
from compact_labse.errors import Unsuitable, UserError, require
from compact_labse.folder import model_hash, write_lineage
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.contract import TFLITE_FILES, TFLITE_FOLDER
from compact_labse.formats.export_folder import add_entry, export_folder
from compact_labse.formats.gates.expected import note_expected
from compact_labse.progress import say

if TYPE_CHECKING:
    from compact_labse.formats.tflite.write import Job


@dataclass(frozen=True, kw_only=True)
class TFLiteExport:
    """What to export and how strictly.

    `formats` are keys of `formats.contract.TFLITE_FILES`; with `skip_unsuitable` one that cannot hold this model is
    left out, not an error. `converter` is "tensorflow" or "litert_torch" (default: the first that is installed).
    `mediapipe` writes, beside each file, one that MediaPipe's TextEmbedder takes: 128 tokens, the vocabulary inside.
    `loosen` lowers gates by name and needs a `reason`; both are recorded in `parity.json`.
    """

    model: str
    out: Path | None = None
    formats: tuple[str, ...] = ("fp32",)
    converter: str | None = None
    mediapipe: bool = False
    skip_unsuitable: bool = False
    loosen: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in TFLITE_FILES:
                raise UserError(f"unknown TFLite format {name!r}, expected some of {', '.join(TFLITE_FILES)}")
        if self.loosen and not self.reason.strip():
            raise UserError("gates are loosened only for a reason, which is recorded: --reason TEXT")


def run(cfg: TFLiteExport) -> Path:
    """Write the artifacts and give their folder; GateError if one disagrees with its source, and nothing is written."""
    from compact_labse.formats.tflite.graph import converter_here

    converter = cfg.converter or converter_here()
    require("ai_edge_litert", "tflite")
    if cfg.mediapipe or converter == "tensorflow":
        require("tensorflow", "tensorflow")
    from compact_labse.formats.tflite.fixed import LONGEST
    from compact_labse.formats.tflite.mediapipe import LENGTH
    from compact_labse.formats.tflite.write import Job, cut_at, name_of
    from compact_labse.torch_encoder import TorchEncoder

    source = load(cfg.model, device="cpu")
    if not isinstance(source, TorchEncoder):
        raise UserError(f"{cfg.model} is an export itself: name the model that it was made from")
    assert source.source is not None
    home = source.source
    with export_folder(source, cfg.out, TFLITE_FOLDER, overwrite=cfg.overwrite) as folder:
        say(f"export {cfg.model}: TFLite by {converter}")
        if converter == "litert_torch":
            source = cut_at(source, LONGEST)
        calibration, test = sample.parallel("calibration"), sample.parallel("test")
        job = Job(source=source, converter=converter, calibration=calibration, test=test)
        jobs = [job, *([replace(job, source=cut_at(source, LENGTH), mediapipe=True)] if cfg.mediapipe else [])]
        written = [name_of(job, kind) for job in jobs for kind in cfg.formats if _write(cfg, job, folder, kind)]
        note_expected(folder, source)
        if cfg.out is not None:
            inputs = {cfg.model: model_hash(home)}
            write_lineage(folder.parent, command="export --tflite", config=asdict(cfg), inputs=inputs)
    final = (cfg.out or home) / TFLITE_FOLDER
    say(f"written: {', '.join(str(final / name) for name in written)}")
    if cfg.mediapipe:
        say("note: MediaPipe's tokenizer keeps accents, so texts with accents get other vectors than in PyTorch")
    return final


def _write(cfg: TFLiteExport, job: Job, folder: Path, kind: str) -> bool:
    """Write one format and note it; False if it does not suit the model and may be left out."""
    from compact_labse.formats.gates.parity import TFLITE_LIMITS
    from compact_labse.formats.tflite.write import name_of, write

    try:
        entry, parity = write(job, folder, kind, TFLITE_LIMITS[kind].loosened(cfg.loosen))
    except Unsuitable as error:
        if not cfg.skip_unsuitable:
            raise
        say(f"tflite {kind}: skipped, {error}")
        return False
    path = folder / name_of(job, kind)
    parity.require(path.name)
    record = {"loosened": dict(cfg.loosen), "reason": cfg.reason} if cfg.loosen else {}
    add_entry(folder, path.name, {**entry, **record}, tokenizer_folder(path) / "tokenizer.json")
    return True
