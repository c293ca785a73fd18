"""Export a model to ONNX: float32 graph -> integer weights -> gates -> files, all of them or none.

    compact-labse export MODEL --onnx --int8

A folder of artifacts appears only if every one of them agrees with the model it came from; `parity.json` beside them
says how far, in which language, and which limits were loosened for what reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar

from compact_labse import load, sample
from compact_labse.errors import Unsuitable, UserError, require
from compact_labse.folder import model_hash, write_lineage
from compact_labse.formats.artifacts import tokenizer_folder
from compact_labse.formats.contract import FILES, FOLDER
from compact_labse.formats.export_folder import add_entry, export_folder, remove
from compact_labse.formats.gates.expected import note_expected
from compact_labse.formats.gates.parity import judge, limits_of
from compact_labse.formats.onnx.variants import ALIASES, alias, to_ort
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.progress import say

if TYPE_CHECKING:
    from compact_labse.formats.onnx.write import Job

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """What to export and how strictly.

    `formats` are keys of `formats.contract.FILES`; with `skip_unsuitable` one that cannot hold this model is left out,
    not an error. `recipe` fixes how linear layers are stored in int8 (default: the fastest that passes).
    `external_data` writes weights to a second file, which runtimes map into memory, not read. `aliases` adds hard links
    under the names that transformers.js looks for, `ort` the files in ORT format for phones, `string_in` graphs that
    take one string, where their tokenizer gives the same ids in all these languages of the embedded sample.
    `languages` are those of the sample that calibration and gates look at: all, or those that a trimmed model serves.
    `loosen` lowers gates by name and needs a `reason`; both are recorded in `parity.json`.
    """

    model: str
    out: Path | None = None
    formats: tuple[str, ...] = ("fp32",)
    skip_unsuitable: bool = False
    recipe: str | None = None
    allow_batch_variant: bool = False
    external_data: bool = False
    aliases: bool = False
    ort: bool = False
    string_in: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
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
    from compact_labse.formats.onnx.graph import graph_of
    from compact_labse.formats.onnx.write import Job
    from compact_labse.torch_encoder import TorchEncoder

    source = load(cfg.model, device="cpu")
    if not isinstance(source, TorchEncoder):
        raise UserError(f"{cfg.model} is an export itself: name the model that it was made from")
    with export_folder(source, cfg.out, FOLDER, overwrite=cfg.overwrite) as folder:
        say(f"export {cfg.model}: float32 graph")
        texts = {part: _sample(cfg.languages, part) for part in ("calibration", "test")}
        with TemporaryDirectory(dir=folder) as spill:
            job = Job(source=source, graph=graph_of(source, Path(spill)), external=cfg.external_data, **texts)
            written = [name for kind in cfg.formats for name in _write(cfg, job, folder, kind)]
        note_expected(folder, source)
        if cfg.out is not None:
            assert source.source is not None
            inputs = {cfg.model: model_hash(source.source)}
            write_lineage(folder.parent, command="export --onnx", config=asdict(cfg), inputs=inputs)
    final = (cfg.out or _folder_of(source)) / FOLDER
    say(f"written: {', '.join(str(final / name) for name in written)}")
    return final


def _sample(languages: Sequence[str], part: str) -> dict[str, list[str]]:
    return {code: sample.sentences(code, part) for code in languages or sample.LANGUAGES}


def _write(cfg: OnnxExport, job: Job, folder: Path, kind: str) -> list[str]:
    """Write one format and the variants asked for; the names of the files, none if it does not suit the model."""
    from compact_labse.formats.onnx.write import refuse_variant, write

    path, limits = folder / FILES[kind], limits_of(kind, _loosened(cfg, kind))
    made = _unless_unsuitable(cfg, kind, lambda: write(job, folder, kind, limits, cfg.recipe))
    if made is None:
        return []
    entry, parity = made
    refuse_variant(kind, parity)
    parity.require(path.name)
    _note(cfg, folder, kind, path.name, entry)
    return [path.name, *_variants(cfg, job, path, kind, entry)]


def _variants(cfg: OnnxExport, job: Job, path: Path, kind: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """The artifact under a peer's name, and in ORT format; those of an earlier export are never left out of date."""
    folder, name, ort = path.parent, ALIASES.get(kind, ""), path.with_suffix(".ort")
    text = f"{path.stem}_text.onnx"
    renew = {other: (folder / other).exists() for other in (name, ort.name, text) if other}
    for other in renew:
        remove(folder, other)
    aliased = bool(name) and (cfg.aliases or renew[name])
    if aliased and _unless_unsuitable(cfg, name, lambda: alias(path, name)) is not None:
        _note(cfg, folder, kind, name, {**entry, "same_as": path.name})
        yield name
    if (cfg.ort or renew[ort.name]) and _unless_unsuitable(cfg, ort.name, lambda: to_ort(path)) is not None:
        # The same graph in another file: what little can go wrong shows in a third of the text.
        parity = judge(job.calibrated, OnnxEncoder.open(ort), limits_of(kind, _loosened(cfg, kind)))
        parity.require(ort.name)
        _note(cfg, folder, kind, ort.name, {**entry, **parity.report()})
        yield ort.name
    if cfg.string_in and _unless_unsuitable(cfg, text, lambda: _string_in(path, cfg.string_in)) is not None:
        languages = ",".join(cfg.string_in)
        _note(cfg, folder, kind, text, {**entry, "vectors": False, "instead": f"takes text, in {languages}"})
        yield text


def _string_in(path: Path, languages: Sequence[str]) -> Path:
    from compact_labse.formats.onnx.strings import string_in

    return string_in(path, languages)


def _note(cfg: OnnxExport, folder: Path, kind: str, name: str, entry: Mapping[str, Any]) -> None:
    loosened = _loosened(cfg, kind)
    record = {"loosened": loosened, "reason": cfg.reason or "--allow-batch-variant"} if loosened else {}
    add_entry(folder, name, {**entry, **record}, tokenizer_folder(folder / name) / "tokenizer.json")


def _unless_unsuitable(cfg: OnnxExport, name: str, make: Callable[[], Made]) -> Made | None:
    """What `make` gives; None, said aloud, if it does not suit the model and may be left out."""
    try:
        return make()
    except Unsuitable as error:
        if not cfg.skip_unsuitable:
            raise
        say(f"{name}: skipped, {error}")
        return None


def _loosened(cfg: OnnxExport, kind: str) -> dict[str, float]:
    """The gates that the configuration lowers for one format."""
    variant = {"invariance": 0.0} if cfg.allow_batch_variant and kind == "int8-dynamic" else {}
    return {**cfg.loosen, **variant}


def _folder_of(source: Any) -> Path:
    assert source.source is not None
    return source.source
