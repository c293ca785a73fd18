"""Export a model to SavedModel as TF Hub defines it: express in TensorFlow -> save -> load again -> gates -> folders.

    compact-labse export MODEL --saved-model --export-type model --export-type preprocessing

`saved_model.md` beside this file says what the SavedModels take and give, and which option of the published
`export_tfhub` tool is which of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compact_labse import load, sample
from compact_labse.errors import UserError, require
from compact_labse.folder import model_hash, write_lineage
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.export_folder import add_entry, export_folder
from compact_labse.formats.gates.expected import note_expected
from compact_labse.progress import say

FOLDER = "saved_model"
TYPES = ("model", "model_with_mlm", "preprocessing", "serving")
POOLERS = ("sentence", "dense", "untrained", "identity")


@dataclass(frozen=True, kw_only=True)
class SavedModelExport:
    """What to export and how strictly.

    `types` are those of `export_tfhub`, and "serving": strings to vectors. `pooler` says what `pooled_output` is (see
    `saved_model.encoder.Body`); `default` is the sentence vector in any case, scaled to unit length if `normalize`.
    `default_seq_length` is no more than the model takes. `do_lower_case` overrides what the root says of the tokenizer,
    never what the tokenizer does. `loosen` lowers gates by name ("tokens": the share of texts whose ids equal the
    tokenizer's) and needs a `reason`; both are recorded.
    """

    model: str
    out: Path | None = None
    types: tuple[str, ...] = ("model",)
    pooler: str = "sentence"
    normalize: bool = True
    do_lower_case: bool | None = None
    default_seq_length: int = 128
    loosen: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    overwrite: bool = False

    def __post_init__(self) -> None:
        for name in self.types:
            if name not in TYPES:
                raise UserError(f"unknown export type {name!r}, expected some of {', '.join(TYPES)}")
        if self.pooler not in POOLERS:
            raise UserError(f"unknown pooler {self.pooler!r}, expected one of {', '.join(POOLERS)}")
        if self.default_seq_length < 3:
            raise UserError(f"default_seq_length must be at least 3, got {self.default_seq_length}")
        if self.loosen and not self.reason.strip():
            raise UserError("gates are loosened only for a reason, which is recorded: --reason TEXT")


def run(cfg: SavedModelExport) -> Path:
    """Write the SavedModels and give their folder; GateError if one disagrees with its source: nothing is written."""
    require("tensorflow", "tensorflow")
    require("tensorflow_text", "tensorflow")
    from compact_labse.formats.saved_model.write import FOLDERS, Job, Settings, write
    from compact_labse.torch_encoder import TorchEncoder

    source = load(cfg.model, device="cpu")
    if not isinstance(source, TorchEncoder):
        raise UserError(f"{cfg.model} is an export itself: name the model that it was made from")
    assert source.source is not None
    settings = Settings(
        pooler=cfg.pooler,
        normalize=cfg.normalize,
        do_lower_case=cfg.do_lower_case,
        default_seq_length=cfg.default_seq_length,
    )
    job = Job(source=source, settings=settings, test=sample.parallel("test"), loosened=dict(cfg.loosen))
    record = {"loosened": dict(cfg.loosen), "reason": cfg.reason} if cfg.loosen else {}
    with export_folder(source, cfg.out, FOLDER, overwrite=cfg.overwrite) as folder:
        for kind in cfg.types:
            entry = write(job, folder, kind) | {"settings": asdict(settings)} | record
            add_entry(folder, FOLDERS[kind], entry, tokenizer_folder(folder / FOLDERS[kind]) / "tokenizer.json")
        note_expected(folder, source)
        if cfg.out is not None:
            inputs = {cfg.model: model_hash(source.source)}
            write_lineage(folder.parent, command="export --saved-model", config=asdict(cfg), inputs=inputs)
    written = (cfg.out or source.source) / FOLDER
    say(f"written: {', '.join(str(written / FOLDERS[kind]) for kind in cfg.types)}")
    return written
