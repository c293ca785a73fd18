"""Change an ONNX graph: read its constants and shapes, put nodes in place of others, drop what nothing uses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from compact_labse.formats.onnx.weights import array_of

CONTRIB = "com.microsoft"


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A matrix product of token activations `[batch, tokens, K]` with a constant `[K, N]`."""

    node: onnx.NodeProto
    activation: str
    weight: str


class Edit:
    """A copy of a model under change. `replace` as often as needed, then `finish` once."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.only: Collection[str] | None = None  # outputs of the products that `linears` gives; None: all
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self._constants = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._added: dict[str, onnx.TensorProto] = {}
        self._nodes: dict[str, list[onnx.NodeProto]] = {}
        self._front: list[onnx.NodeProto] = []

    def array(self, name: str) -> np.ndarray:
        """The value of a constant."""
        return array_of(self._constants[name])

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant unless one of that name was added before; gives the name back."""
        if name not in self._added:
            self._added[name] = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name)
        return name

    def at_front(self, *nodes: onnx.NodeProto) -> None:
        """Put nodes that depend on the inputs alone before all others; one that is there already is not added again."""
        known = {output for node in self._front for output in node.output}
        self._front += [node for node in nodes if not known & set(node.output)]

    def replace(self, node: onnx.NodeProto, new: Sequence[onnx.NodeProto]) -> None:
        """Put `new` in the place of `node`; empty removes it."""
        self._nodes[node.output[0]] = list(new)

    def nodes(self, kind: str) -> list[onnx.NodeProto]:
        """The nodes of one operator, in order."""
        return [node for node in self.model.graph.node if node.op_type == kind]

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a value."""
        return [node for node in self.model.graph.node if name in node.input]

    def linears(self) -> list[Linear]:
        """The products of token activations with constants; others are left out."""
        shapes = _shapes(self.model)
        return [
            Linear(node=node, activation=node.input[0], weight=node.input[1])
            for node in self.nodes("MatMul")
            if (self.only is None or node.output[0] in self.only)
            and self.is_constant(node.input[1])
            and len(self._constants[node.input[1]].dims) == 2
            and shapes.get(node.input[0], [])[:-1] == ["batch", "tokens"]
        ]

    def finish(self) -> onnx.ModelProto:
        """The changed model."""
        graph = self.model.graph
        nodes = self._front + list(self._in_place(graph.node))
        del graph.node[:]
        graph.node.extend(nodes)
        used = {name for node in nodes for name in node.input} | {value.name for value in graph.output}
        kept = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *(tensor for name, tensor in self._added.items() if name in used)])
        made = {name for node in nodes for name in node.output}
        shapes = [value for value in graph.value_info if value.name in made]
        del graph.value_info[:]
        graph.value_info.extend(shapes)
        if any(node.domain == CONTRIB for node in nodes) and all(o.domain != CONTRIB for o in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
        return self.model

    def _in_place(self, nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        for node in nodes:
            yield from self._nodes.get(node.output[0], [node])


def _shapes(model: onnx.ModelProto) -> dict[str, list[str | int]]:
    """The shape of every value that the exporter noted, unknown axes as ''."""
    values = [*model.graph.value_info, *model.graph.output]
    return {
        value.name: [d.dim_param or d.dim_value or "" for d in value.type.tensor_type.shape.dim] for value in values
    }
