"""Write an encoder as an ONNX graph in float32, with pooling and unit length inside.

Transformers are traced by PyTorch; bags of tokens are a handful of nodes built by hand.
Shapes: B batch, T tokens, D dimension, V vocabulary.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compact_labse.errors import UserError
from compact_labse.formats.contract import INPUTS, IR_VERSION, OPSET, OUTPUTS, Facts
from compact_labse.formats.onnx.weights import (
    bring_in,
    read_spilled,
    save_with_data,
    size_of,
    spill_folder,
    write_beside,
)

if TYPE_CHECKING:
    from torch import nn

    from compact_labse.sentence_model import SentenceModel
    from compact_labse.torch_encoder import TorchEncoder

TABLE = "table"
# Above this, weights go to a second file: a protobuf may not pass 2^31 bytes, and writing one takes its size twice.
ONE_FILE = 1_000_000_000  # bytes
SPILL = 500_000_000  # bytes of weights from which on they are kept in a file while exporting, not in memory


def graph_of(encoder: TorchEncoder, spill: Path | None = None) -> onnx.ModelProto:
    """The encoder as a float32 ONNX model that keeps the contract of `formats.contract`.

    The weights of a large model are written into the folder `spill`, which must outlive the model, if one is given.
    """
    table_VD = bag_of_tokens(encoder.module)
    if table_VD is not None:
        return static_graph(table_VD)
    size = sum(weight.numel() * weight.element_size() for weight in encoder.module.parameters())
    return trace(encoder.module, spill) if spill is not None and size > SPILL else trace(encoder.module)


def bag_of_tokens(module: SentenceModel) -> np.ndarray | None:
    """The table `[V, D]` of a model that averages table rows and does nothing else but normalise; else None."""
    from compact_labse.bodies import StaticBody
    from compact_labse.heads import Normalize

    heads = [*module.token_heads, *module.sentence_heads]
    plain = all(isinstance(head, Normalize) for head in module.sentence_heads) and not module.token_heads
    if isinstance(module.body, StaticBody) and module.modes == ("mean",) and (plain or not heads):
        return module.body.embedding.weight.detach().float().cpu().numpy()
    return None


def static_graph(table_VD: np.ndarray) -> onnx.ModelProto:
    """A bag of tokens: gather the table's rows, sum those of real tokens, scale to unit length.

    The sum stands for the mean: unit length makes them the same. A row without any token gives zeros, not NaN.
    """
    nodes = [
        helper.make_node("Gather", [TABLE, INPUTS[0]], [OUTPUTS[0]]),
        helper.make_node("Cast", [INPUTS[1]], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "axis_tokens"], ["mask_B1T"]),
        helper.make_node("MatMul", ["mask_B1T", OUTPUTS[0]], ["sum_B1D"]),
        helper.make_node("Squeeze", ["sum_B1D", "axis_tokens"], ["sum"]),
        helper.make_node("Mul", ["sum", "sum"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "axis_last"], ["squared_norm"], keepdims=1),
        helper.make_node("Add", ["squared_norm", "tiny"], ["safe_squared_norm"]),
        helper.make_node("Sqrt", ["safe_squared_norm"], ["norm"]),
        helper.make_node("Div", ["sum", "norm"], [OUTPUTS[1]]),
    ]
    constants: dict[str, np.ndarray] = {
        TABLE: np.ascontiguousarray(table_VD, dtype=np.float32),
        "axis_tokens": np.array([1], np.int64),
        "axis_last": np.array([-1], np.int64),
        "tiny": np.array(1e-24, np.float32),
    }
    dim = table_VD.shape[1]
    ints, floats = TensorProto.INT64, TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "compact_labse",
        [helper.make_tensor_value_info(name, ints, ["batch", "tokens"]) for name in INPUTS],
        [
            helper.make_tensor_value_info(OUTPUTS[0], floats, ["batch", "tokens", dim]),
            helper.make_tensor_value_info(OUTPUTS[1], floats, ["batch", dim]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return _plain(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]))


def trace(module: nn.Module, spill: Path | None = None) -> onnx.ModelProto:
    """What PyTorch's exporter makes of a module with the forward of `SentenceModel`; both axes dynamic.

    With `spill`, a folder, the weights are written there and never copied in memory.
    """
    import torch

    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    ids_BT = torch.ones(3, 7, dtype=torch.long)  # sizes other than 0 and 1, which tracing would take for constants
    example = (ids_BT, ids_BT.clone(), torch.zeros_like(ids_BT))
    with _eager_attention(module), _quiet():
        program = torch.onnx.export(
            module.cpu().eval(),
            example,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=[axes] * len(INPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    if spill is None:
        return _plain(program.model_proto)
    program.save(spill / "graph.onnx", external_data=True)
    return _plain(read_spilled(spill / "graph.onnx"))


def stamp(model: onnx.ModelProto, facts: Facts) -> None:
    """Write the facts into a model's metadata properties, in place of those that it has."""
    del model.metadata_props[:]
    helper.set_model_props(model, facts.properties())


def save(model: onnx.ModelProto, path: Path, *, external: bool = False) -> None:
    """Write a model to a file, its large weights to `<name>_data` beside it if asked, or where one file is too small.

    Shapes of inner values are left out: with them ONNX Runtime fuses addition and layer normalisation into a node that
    is slower than both (all-MiniLM-L6, 32 x 20 tokens: 138 ms without, 152 ms with; in int8 53 and 68 ms).
    """
    shapes = list(model.graph.value_info)
    del model.graph.value_info[:]
    try:
        if external or sum(map(size_of, model.graph.initializer)) > ONE_FILE:
            save_with_data(model, path)
        else:
            onnx.save(bring_in(model), path)
    finally:
        model.graph.value_info.extend(shapes)


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without what exporters add for debugging: stack traces hold the paths of the machine that ran them."""
    model.producer_name, model.producer_version = "compact-labse", ""
    model.doc_string = ""
    model.ir_version = IR_VERSION
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.metadata_props[:]
    if model.functions:
        raise UserError("the exporter made a graph with functions, which older runtimes cannot read")
    spilled = spill_folder(model) is not None
    onnx.checker.check_model(str(write_beside(model, "checked.onnx")) if spilled else model.SerializeToString())
    return model


@contextlib.contextmanager
def _eager_attention(module: nn.Module) -> Iterator[None]:
    """Attention as plain matrix products while tracing: the fused one brings a check for NaN into every layer."""
    transformer: Any = getattr(getattr(module, "body", None), "transformer", None)
    if transformer is None or not hasattr(transformer, "set_attn_implementation"):
        yield
        return
    before = transformer.config._attn_implementation
    try:
        transformer.set_attn_implementation("eager")
        yield
    finally:
        transformer.set_attn_implementation(before)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress and warns of axis names; neither says anything about the result."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
