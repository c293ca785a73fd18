"""Linear layers of an ONNX graph in 8 bits, four ways. All keep bias, softmax and normalisation in float32.

- `rows`: every token's activations get a scale of their own, then one integer product. As fast as ONNX Runtime's
  dynamic quantization, and a text's vector does not depend on its neighbours in the batch.
- `blocks`: ONNX Runtime's MatMulNBits; a scale for every block of 32 to 128 inputs. Slower, more exact.
- `static`: one range for all texts, as QuantizeLinear and DequantizeLinear around the product, standard operators
  alone; what lies outside is cut off.
- `dynamic`: one scale for the whole batch: a long neighbour changes the vector of a short text.

Shapes: R rows (tokens of a batch), K inputs, N outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from compact_labse.formats.contract import INPUTS
from compact_labse.formats.integers import blocks4, blocks8, columns8
from compact_labse.formats.onnx.edit import CONTRIB, Edit, Linear
from compact_labse.formats.onnx.row_plan import CENTRE, RowPlan
from compact_labse.formats.static_plan import StaticPlan


def rows(edit: Edit, plans: Mapping[str, RowPlan]) -> None:
    """Quantize each row of the activations in `plans` by its own scale, and their matrices column by column."""
    made: set[str] = set()
    for linear in edit.linears():
        plan = plans[linear.activation]
        front = [] if linear.activation in made else _quantized_rows(edit, linear.activation, plan)
        made.add(linear.activation)
        edit.replace(linear.node, [*front, *_integer_product(edit, linear, plan)])


def blocks(edit: Edit, size: int, bits: int = 8) -> None:
    """Quantize the matrices in blocks of `size` inputs, and let ONNX Runtime do the same with the activations.

    Of 8 or 4 bits; the activations have 8 in either case.
    """
    for linear in edit.linears():
        weight_KN = edit.array(linear.weight)
        codes, scales = blocks8(weight_KN, size) if bits == 8 else blocks4(weight_KN, size)
        name = f"{linear.weight}__blocks{bits}"
        inputs = [linear.activation, edit.constant(name, codes), edit.constant(f"{name}__scale", scales)]
        # Level 4: multiply in int8; the other levels make floats of the weights first, which is slower than float32.
        attributes = {"K": weight_KN.shape[0], "N": weight_KN.shape[1], "bits": bits, "accuracy_level": 4}
        node = _contrib("MatMulNBits", inputs, linear.node.output, block_size=size, **attributes)
        edit.replace(linear.node, [node])


def dynamic(edit: Edit) -> None:
    """Quantize the matrices column by column, and the activations of a whole batch by one scale."""
    for linear in edit.linears():
        name, scale = _columns(edit, linear, None)
        edit.replace(
            linear.node, [_contrib("DynamicQuantizeMatMul", [linear.activation, name, scale], linear.node.output)]
        )


def static(edit: Edit, plans: Mapping[str, StaticPlan]) -> None:
    """Quantize activations in the fixed ranges of `plans` and matrices column by column, in standard operators."""
    for linear in edit.linears():
        name, plan = linear.activation, plans[linear.activation]
        scale, zero = edit.constant(f"{name}__step", np.array(plan.scale, np.float32)), _zero(edit, plan.zero)
        weight, weight_scale = _columns(edit, linear, None)
        product = linear.node.output[0]
        zeros = edit.constant(f"{weight}__zero", np.zeros(edit.array(linear.weight).shape[1], np.int8))
        edit.replace(linear.node, [
            helper.make_node("QuantizeLinear", [name, scale, zero], [f"{product}__codes"]),
            helper.make_node("DequantizeLinear", [f"{product}__codes", scale, zero], [f"{product}__kept"]),
            helper.make_node("DequantizeLinear", [weight, weight_scale, zeros], [f"{product}__columns"], axis=1),
            helper.make_node("MatMul", [f"{product}__kept", f"{product}__columns"], [product]),
        ])  # fmt: skip


def fuse_gelu(edit: Edit) -> None:
    """Put one node for `x / sqrt(2) -> erf -> + 1 -> * (0.5 x)`, which passes over the widest tensors five times."""
    makers = {output: node for node in edit.model.graph.node for output in node.output}
    for erf in edit.nodes("Erf"):
        chain = [node for node in [makers.get(erf.input[0])] if node is not None] + [erf]
        while len(chain) < 5 and len(readers := edit.consumers(chain[-1].output[0])) == 1:
            chain.append(readers[0])
        if [node.op_type for node in chain] != ["Div", "Erf", "Add", "Mul", "Mul"]:
            continue
        x, last = chain[0].input[0], chain[-1]
        if x not in last.input:
            continue
        for node in chain[:-1]:
            edit.replace(node, [])
        edit.replace(last, [_contrib("Gelu", [x], last.output)])


def _quantized_rows(edit: Edit, name: str, plan: RowPlan) -> list[onnx.NodeProto]:
    """Nodes that make `<name>_codes` uint8 `[R, K]` and `<name>_scale` `[R, 1]` of activations `[batch, tokens, K]`."""
    flat, scale, axis = f"{name}__flat", f"{name}__scale", edit.constant("axis_inputs", np.array([1], np.int64))
    nodes = [helper.make_node("Reshape", [name, edit.constant(f"to_{plan.width}", _shape(-1, plan.width))], [flat])]
    if plan.smooth_K is not None:
        inverse = edit.constant(f"{name}__smooth", (1 / plan.smooth_K).astype(np.float32))
        flat = f"{name}__smoothed"
        nodes.append(helper.make_node("Mul", [f"{name}__flat", inverse], [flat]))
    tiny = edit.constant("tiny_scale", np.array(1e-12, np.float32))
    if plan.zero == CENTRE:
        nodes += [
            helper.make_node("Abs", [flat], [f"{name}__abs"]),
            helper.make_node("ReduceMax", [f"{name}__abs", axis], [f"{name}__peak"]),
            helper.make_node("Mul", [f"{name}__peak", _number(edit, 1 / 127)], [f"{name}__step"]),
            helper.make_node("Max", [f"{name}__step", tiny], [scale]),
        ]
    else:
        nodes += [
            helper.make_node("ReduceMax", [flat, axis], [f"{name}__top"]),
            helper.make_node("ReduceMin", [flat, axis], [f"{name}__bottom"]),
            helper.make_node("Mul", [f"{name}__top", _number(edit, 1 / (255 - plan.zero))], [f"{name}__up"]),
            helper.make_node("Mul", [f"{name}__bottom", _number(edit, -1 / plan.zero)], [f"{name}__down"]),
            helper.make_node("Max", [f"{name}__up", f"{name}__down", tiny], [scale]),
        ]
    steps = [f"{name}__steps", _zeros_of_rows(edit, plan.zero)]
    return [
        *nodes,
        helper.make_node("Reshape", [scale, edit.constant("to_rows", _shape(-1))], steps[:1]),
        helper.make_node("QuantizeLinear", [flat, *steps], [f"{name}__codes"], axis=0),
    ]


def _integer_product(edit: Edit, linear: Linear, plan: RowPlan) -> list[onnx.NodeProto]:
    weight, scale = _columns(edit, linear, plan.smooth_K)
    name, output = linear.activation, linear.node.output[0]
    inputs = [f"{name}__codes", weight, _number(edit, 1.0), scale, _zero(edit, plan.zero)]
    return [
        _contrib("MatMulIntegerToFloat", inputs, [f"{output}__product"]),
        helper.make_node("Mul", [f"{output}__product", f"{name}__scale"], [f"{output}__scaled"]),
        helper.make_node("Reshape", [f"{output}__scaled", _unflat(edit, edit.array(linear.weight).shape[1])], [output]),
    ]


def _columns(edit: Edit, linear: Linear, smooth_K: np.ndarray | None) -> tuple[str, str]:
    """The names of a matrix's int8 codes and column scales; a matrix that two activations share is stored twice."""
    weight_KN = edit.array(linear.weight)
    codes, scale_N = columns8(weight_KN if smooth_K is None else weight_KN * smooth_K[:, None])
    name = f"{linear.node.output[0]}__weight"
    return edit.constant(name, codes), edit.constant(f"{name}__scale", scale_N)


def _unflat(edit: Edit, outputs: int) -> str:
    """The shape `[batch, tokens, outputs]`, computed once from the inputs for all layers of that width."""
    width = edit.constant(f"width_{outputs}", _shape(outputs))
    edit.at_front(
        helper.make_node("Shape", [INPUTS[0]], ["input_shape"]),
        helper.make_node("Concat", ["input_shape", width], [f"shape_{outputs}"], axis=0),
    )
    return f"shape_{outputs}"


def _zeros_of_rows(edit: Edit, zero: int) -> str:
    """A zero point for every row, `[R]`: QuantizeLinear wants as many as scales, though all are the same."""
    edit.at_front(
        helper.make_node("Shape", [INPUTS[0]], ["input_shape"]),
        helper.make_node("ReduceProd", ["input_shape"], ["input_rows"]),
        helper.make_node(
            "ConstantOfShape",
            ["input_rows"],
            [f"zeros_{zero}"],
            value=helper.make_tensor("value", onnx.TensorProto.UINT8, [1], [zero]),
        ),
    )
    return f"zeros_{zero}"


def _zero(edit: Edit, zero: int) -> str:
    return edit.constant(f"zero_{zero}", np.array(zero, np.uint8))


def _number(edit: Edit, value: float) -> str:
    return edit.constant(f"number_{value:.9g}", np.array(value, np.float32))


def _shape(*sizes: int) -> np.ndarray:
    return np.array(sizes, np.int64)


def _contrib(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(inputs), list(outputs), domain=CONTRIB, **attributes)
