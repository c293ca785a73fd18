"""What a candidate will weigh and how long it will take, from an untrained model of its shape.

The shape is made with random weights and few pieces, exported as the trained one will be, and its table stretched to
the real number of rows. The bytes are then those of the trained model's file, except where calibration decides: an
activation that is scaled down first (SmoothQuant) stores a vector for it, and a zero point stands in names. The file
made here has all of these vectors, so that a prediction is never too small; `slack` says by how much it may be too
large. Scales of tables in few bits are float16 where they can be; a row of zeros, such as the padding's, makes them
float32, and the trimmed table tells.

Shapes: V rows of the table, K inputs of a layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from compact_labse import sample
from compact_labse.bodies import TransformerBody
from compact_labse.compress.candidates import TABLE_BITS, Candidate
from compact_labse.compress.stand_in import stand_in, stand_in_dim, table_of
from compact_labse.folder import model_hash
from compact_labse.formats.contract import FILES, Facts
from compact_labse.formats.integers import CLIPS, offset
from compact_labse.formats.onnx.edit import Edit
from compact_labse.formats.onnx.graph import graph_of, save, stamp
from compact_labse.formats.onnx.quantize import has_linears, quantize
from compact_labse.formats.onnx.row_plan import RowPlan
from compact_labse.formats.peer_files import plain_tokenizer
from compact_labse.measure.speed.latency import Cell
from compact_labse.measure.speed.processes import run_cell, texts_file
from compact_labse.torch_encoder import TorchEncoder

ROWS = 4099  # of the table while exporting: a prime, which no other axis has
TOKENS, ROUNDS, SECONDS = 20, 3, 0.4  # of the timing: one sentence, on one thread
SMALLEST_HALF = 6.2e-5  # float16 below it loses digits


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Bytes of the file and of its tokenizer, how many of them calibration may save, milliseconds for a sentence."""

    file_bytes: int
    tokenizer_bytes: int
    slack: int
    latency: float
    model_ms: float
    tokenize_ms: float

    @property
    def bytes(self) -> int:
        """What is shipped."""
        return self.file_bytes + self.tokenizer_bytes


class Shapes:
    """Untrained models of candidates over one trimmed vocabulary; `source` is the trimmed model with its weights."""

    def __init__(self, source: TorchEncoder, languages: Sequence[str] = ()) -> None:
        self.source, self.languages = source, tuple(languages)
        self._graphs: dict[tuple[Any, ...], onnx.ModelProto] = {}
        self._peak = float(table_of(source.module).abs().amax(1).min())

    def __len__(self) -> int:
        """The pieces of the vocabulary."""
        return len(table_of(self.source.module))

    @cached_property
    def hash(self) -> str:
        """Of the trimmed model: read once, for models may be large."""
        assert self.source.source is not None
        return model_hash(self.source.source)

    def write(self, one: Candidate, folder: Path, plans: Mapping[str, RowPlan] | None = None) -> Path:
        """The artifact of a candidate with random weights, beside its tokenizer, in the existing folder `folder`.

        `plans` fix what calibration will choose; by default the choice that takes most bytes.
        """
        rows, bits = self._rows(one), TABLE_BITS[one.bits]
        graph, recipe = self._graph(one, rows, self._half(bits)), "float"
        if bits < 32:
            recipe = "rows" if has_linears(graph) else "tables"
            chosen = (largest_plans(graph) if plans is None else plans) if recipe == "rows" else {}
            graph = quantize(graph, recipe=recipe, table_bits=bits, plans=chosen)
        model = onnx.ModelProto()
        model.CopyFrom(graph)
        stretch(model, rows, one.pieces)
        path = folder / FILES[one.bits]
        stamp(model, self._facts(one, recipe))
        save(model, path)
        (folder / "tokenizer.json").write_bytes(tokenizer_text(self.source))
        return path

    def predict(self, one: Candidate, folder: Path, texts: Sequence[str]) -> Prediction:
        """Write the candidate into `folder` and measure it in fresh processes of one thread; the best of three."""
        path = self.write(one, folder)
        size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
        names = {name for name in onnx_names(path) if name.endswith("__smooth")}
        slack = sum(4 * int(np.prod(dims)) + 400 for name, dims in onnx_names(path).items() if name in names)
        times = measure(path, texts)
        return Prediction(
            file_bytes=size,
            tokenizer_bytes=len(tokenizer_text(self.source)),
            slack=slack,
            latency=round(sum(times), 4),
            model_ms=times[0],
            tokenize_ms=times[1],
        )

    def _rows(self, one: Candidate) -> int:
        """Few rows, but more than positions have: the largest table is the one that gets few bits."""
        body: Any = self.source.module.body
        positions = 0
        if isinstance(body, TransformerBody):
            positions = int(getattr(body.transformer.config, "max_position_embeddings", 0))
        return min(one.pieces, ROWS if positions < ROWS else positions + 1)

    def _half(self, bits: int) -> bool:
        """Whether the scales of the table will be float16."""
        return bits >= 8 or self._peak * CLIPS[0] / offset(bits) > SMALLEST_HALF

    def _graph(self, one: Candidate, rows: int, half: bool) -> onnx.ModelProto:
        key = (one.shape, rows, half)
        if key not in self._graphs:
            module = stand_in(self.source.module, one, rows)
            if not half:
                with torch.no_grad():
                    table_of(module)[0] = 0
            while len(self._graphs) > 3:
                del self._graphs[next(iter(self._graphs))]
            self._graphs[key] = graph_of(TorchEncoder(module, self.source.tokens, device="cpu"))
        return self._graphs[key]

    def _facts(self, one: Candidate, recipe: str) -> Facts:
        source = self.source
        return Facts(
            dim=stand_in_dim(source.module, one),
            pooling="+".join(source.module.modes),
            dtype=one.bits,
            recipe=recipe,
            max_tokens=source.max_tokens or 0,
            pad_id=source.tokens.pad_id,
            special_tokens=source.tokens.special,
            prompt=source.tokens.prefix,
            languages=",".join(self.languages or sample.LANGUAGES),
            source="0" * 64,
        )


def largest_plans(graph: onnx.ModelProto) -> dict[str, RowPlan]:
    """The plans that take most bytes: every activation smoothed, and a zero point of its own."""
    edit = Edit(graph)
    found: dict[str, RowPlan] = {}
    for linear in edit.linears():
        width = len(edit.array(linear.weight))
        zero = 99 - len(found) % 90
        found.setdefault(linear.activation, RowPlan(width=width, zero=zero, smooth_K=np.ones(width, np.float32)))
    return found


def stretch(model: onnx.ModelProto, rows: int, wanted: int) -> None:
    """Give every table of `rows` rows `wanted` instead, in place, of random values of its type."""
    if rows == wanted:
        return
    random = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.dims and tensor.dims[0] == rows:
            old = numpy_helper.to_array(tensor)
            new = old[random.integers(0, rows, wanted)]
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))


def tokenizer_text(source: TorchEncoder) -> bytes:
    """A model's `tokenizer.json` as exports write it, without white space."""
    path = (source.source or Path()) / "tokenizer.json"
    text = path.read_text(encoding="utf-8") if path.is_file() else source.tokens.tokenizer.to_str()
    return json.dumps(plain_tokenizer(json.loads(text), source), ensure_ascii=False, separators=(",", ":")).encode()


def measure(path: Path, texts: Sequence[str]) -> tuple[float, float]:
    """Milliseconds that the model and the tokenizer take for one sentence: medians, the best of fresh processes."""
    cell = Cell(mode="fixed", batch=1, tokens=TOKENS, seconds=SECONDS)
    with texts_file(texts) as file:
        found = [run_cell(str(path), cell, file) for _ in range(ROUNDS)]
    model, tokenize = (min(one[name]["p50"] for one in found) for name in ("model_ms", "tokenize_ms"))
    return model, tokenize


def onnx_names(path: Path) -> dict[str, tuple[int, ...]]:
    """The constants of a file and their shapes."""
    model = onnx.load(path, load_external_data=False)
    return {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}


def as_record(found: Prediction) -> dict[str, Any]:
    """The prediction as plain JSON values, with their sum."""
    return {**asdict(found), "bytes": found.bytes}
