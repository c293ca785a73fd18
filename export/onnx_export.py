"""Export a model to ONNX: float32 graph -> integer weights -> gates -> files, all of them or none.

    compact-labse export MODEL --onnx --int8

A folder of artifacts appears only if every one of them agrees with the model it came from; `parity.json` beside them
says how far, in which language, and which limits were loosened for what reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compact_labse import load, sample
from compact_labse.errors import Unsuitable, UserError, require
from compact_labse.folder import model_hash, write_lineage
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.contract import FILES, FOLDER
from compact_labse.formats.expected import note_expected
from compact_labse.formats.export_folder import add_entry, export_folder
from compact_labse.progress import say

if TYPE_CHECKING:
    from compact_labse.formats.onnx_write import Job


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """What to export and how strictly.

    `formats` are keys of `formats.contract.FILES`; with `skip_unsuitable` one that cannot hold this model is left out,
    not an error. `recipe` fixes how linear layers are stored in int8 (default: the
    fastest that passes). `external_data` writes weights to a second file, which runtimes map into memory, not read.
    `loosen` lowers gates by name and needs a `reason`; both are recorded in `parity.json`.
    """

    model: str
    out: Path | None = None
    formats: tuple[str, ...] = ("fp32",)
    skip_unsuitable: bool = False
    recipe: str | None = None
    allow_batch_variant: bool = False
    external_data: bool = False
    loosen: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FILES:
                raise UserError(f"unknown ONNX format {name!r}, expected some of {', '.join(FILES)}")
        if self.loosen and not self.reason.strip():
            raise UserError("gates are loosened only for a reason, which is recorded: --reason TEXT")


def run(cfg: OnnxExport) -> Path:
    """Write the artifacts and give their folder; GateError if one disagrees with its source, and nothing is written."""
    require("onnx", "onnx")
    require("onnxscript", "onnx")
    from compact_labse.formats.onnx_graph import graph_of
    from compact_labse.formats.onnx_write import Job
    from compact_labse.torch_encoder import TorchEncoder

    source = load(cfg.model, device="cpu")
    if not isinstance(source, TorchEncoder):
        raise UserError(f"{cfg.model} is an export itself: name the model that it was made from")
    with export_folder(source, cfg.out, FOLDER, overwrite=cfg.overwrite) as folder:
        say(f"export {cfg.model}: float32 graph")
        texts = {"calibration": sample.parallel("calibration"), "test": sample.parallel("test")}
        job = Job(source=source, graph=graph_of(source), external=cfg.external_data, **texts)
        written = [FILES[kind] for kind in cfg.formats if _write(cfg, job, folder, kind)]
        note_expected(folder, source)
        if cfg.out is not None:
            assert source.source is not None
            inputs = {cfg.model: model_hash(source.source)}
            write_lineage(folder.parent, command="export --onnx", config=asdict(cfg), inputs=inputs)
    final = (cfg.out or _folder_of(source)) / FOLDER
    say(f"written: {', '.join(str(final / name) for name in written)}")
    return final


def _write(cfg: OnnxExport, job: Job, folder: Path, kind: str) -> bool:
    """Write one format and note it; False if it does not suit the model and may be left out."""
    from compact_labse.formats.onnx_write import limits_of, refuse_variant, write

    loosened = _loosened(cfg, kind)
    try:
        entry, parity = write(job, folder, kind, limits_of(kind, loosened), cfg.recipe)
    except Unsuitable as error:
        if not cfg.skip_unsuitable:
            raise
        say(f"{kind}: skipped, {error}")
        return False
    refuse_variant(kind, parity)
    parity.require(FILES[kind])
    record = {"loosened": loosened, "reason": cfg.reason or "--allow-batch-variant"} if loosened else {}
    path = folder / FILES[kind]
    add_entry(folder, path.name, {**entry, **record}, tokenizer_folder(path) / "tokenizer.json")
    return True


def _loosened(cfg: OnnxExport, kind: str) -> dict[str, float]:
    """The gates that the configuration lowers for one format."""
    variant = {"invariance": 0.0} if cfg.allow_batch_variant and kind == "int8-dynamic" else {}
    return {**cfg.loosen, **variant}


def _folder_of(source: Any) -> Path:
    assert source.source is not None
    return source.source
