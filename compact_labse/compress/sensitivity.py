"""Which layers of a model suffer from few bits, and which mixtures of bits are worth their size.

Every linear layer is quantized alone, and the damage to the vectors of calibration text measured. The search starts
with all layers in 8 bits and takes the step that costs least per byte saved, one after the other, in both directions;
what it gives back is measured as a whole, on other text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort

from compact_labse.errors import UserError
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.onnx.edit import Edit
from compact_labse.formats.onnx.learned_ranges import layer_names
from compact_labse.formats.onnx.quantize import Calibration, quantize_mixed
from compact_labse.progress import track
from compact_labse.tokens import pad
from compact_labse.torch_encoder import TorchEncoder

EIGHT, FOUR = "rows", "blocks4-32"
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A linear layer: its output in the graph, the name of its weights, and its damage alone in 8 and in 4 bits."""

    output: str
    name: str
    values: int
    damage8: float
    damage4: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """A configuration as measured: bytes of the file, one minus the mean cosine, the worst cosine."""

    title: str
    bytes: int
    damage: float
    worst_cosine: float
    float_layers: tuple[str, ...]
    four_bit_layers: tuple[str, ...]
    table_bits: int | None


class Bench:
    """A float32 graph and texts to measure quantized copies of it on."""

    def __init__(self, source: TorchEncoder, graph: onnx.ModelProto, texts: Sequence[str]) -> None:
        self.source, self.graph = source, graph
        half = len(texts) // 2
        self.scanned, self.other = list(texts[:half]), list(texts[half:])
        if half < 8:
            raise UserError(f"a scan needs at least 16 texts, got {len(texts)}")
        self.plans = Calibration(graph, self._feeds(self.scanned)).plans(EIGHT)
        self._exact = {key: source.encode(group) for key, group in ((0, self.scanned), (1, self.other))}

    def measure(self, recipes: Mapping[str, str], table_bits: int | None, held: bool) -> tuple[int, np.ndarray]:
        """Bytes, and each text's cosine with float32; `held` measures on text that nothing was chosen on."""
        model = quantize_mixed(self.graph, recipes, table_bits, self.plans)
        data = model.SerializeToString()
        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        found = [session.run([OUTPUTS[1]], feed)[0] for feed in self._feeds(self.other if held else self.scanned)]
        return len(data), (np.concatenate(found) * self._exact[int(held)]).sum(1)

    def scan(self) -> list[Layer]:
        """Each linear layer alone, in 8 bits and in 4, most damage first."""
        names, found = layer_names(self.graph, self.source), []
        for linear in track(Edit(self.graph).linears(), "scanning layers"):
            output = linear.node.output[0]
            damages = [float(1 - self.measure({output: r}, None, held=False)[1].mean()) for r in (EIGHT, FOUR)]
            values = int(np.prod(Edit(self.graph).array(linear.weight).shape))
            name = names.get(linear.weight, output)
            found.append(Layer(output=output, name=name, values=values, damage8=damages[0], damage4=damages[1]))
        return sorted(found, key=lambda layer: -layer.damage8)

    def _feeds(self, texts: Sequence[str]) -> list[dict[str, np.ndarray]]:
        feeds = []
        for start in range(0, len(texts), BATCH):
            ids_BT, mask_BT = pad(self.source.tokenize(texts[start : start + BATCH]), self.source.tokens.pad_id)
            feeds.append(dict(zip(INPUTS, (ids_BT, mask_BT, 0 * ids_BT), strict=True)))
        return feeds


def excluded(layers: Sequence[Layer], share: float = 0.5) -> list[str]:
    """The layers to leave in float32: the fewest that make up `share` of all damage in 8 bits."""
    total, found, so_far = sum(layer.damage8 for layer in layers), [], 0.0
    for layer in sorted(layers, key=lambda layer: -layer.damage8):
        if so_far >= share * total:
            break
        found.append(layer.name)
        so_far += layer.damage8
    return found


def search(bench: Bench, layers: Sequence[Layer], steps: int = 6, table_bits: Sequence[int] = (8, 4)) -> list[Point]:
    """Measured configurations, smallest first: from many layers in float32 over all in 8 bits to all in 4."""
    back = sorted(layers, key=lambda layer: -layer.damage8 / layer.values)  # what 8 bits cost most per byte
    down = sorted(layers, key=lambda layer: (layer.damage4 - layer.damage8) / layer.values)
    wanted: list[tuple[str, set[str], set[str], int | None]] = [("float32", {x.output for x in layers}, set(), None)]
    for bits in table_bits:
        for part in range(steps, 0, -1):
            count = max(1, len(layers) * part // (2 * steps))
            wanted.append((f"{count} layers float32", {x.output for x in back[:count]}, set(), bits))
        wanted.append(("8 bits", set(), set(), bits))
        for part in range(1, steps + 1):
            count = max(1, len(layers) * part // steps)
            wanted.append((f"{count} layers 4 bits", set(), {x.output for x in down[:count]}, bits))
    titles = {layer.output: layer.name for layer in layers}
    return sorted(
        (_point(bench, titles, *one) for one in track(wanted, "searching")),
        key=lambda point: (point.bytes, point.damage),
    )


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in both size and damage, smallest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda point: (point.bytes, point.damage)):
        if not kept or point.damage < kept[-1].damage:
            kept.append(point)
    return kept


def _point(
    bench: Bench, titles: Mapping[str, str], title: str, floats: set[str], fours: set[str], bits: int | None
) -> Point:
    recipes = {output: FOUR if output in fours else EIGHT for output in titles if output not in floats}
    size, cosines = bench.measure(recipes, bits, held=True)
    return Point(
        title=title if bits is None else f"{title}, table {bits}",
        bytes=size,
        damage=float(1 - cosines.mean()),
        worst_cosine=float(cosines.min()),
        float_layers=tuple(sorted(titles[output] for output in floats)),
        four_bit_layers=tuple(sorted(titles[output] for output in fours)),
        table_bits=bits,
    )
