"""The machine's peaks on one thread: `python -m compact_labse.measure.speed.peaks` prints them as JSON.

Several libraries are asked for each number format, because none is the fastest everywhere; what is missing is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from compact_labse.measure.speed.latency import MARK, repeat

SIZE, SECONDS = 1024, 1.0
Product = tuple[str, str, Callable[[], Any]]
_LARGE = 64_000_000  # bytes in float32: four times what a core's share of the last cache holds


def peaks(size: int = SIZE, seconds: float = SECONDS) -> dict[str, list[dict[str, Any]]]:
    """Operations/s of square products in fp32, bf16 and int8, bytes/s of a copy and of a sum, each with its library."""
    found: dict[str, list[dict[str, Any]]] = {"fp32": [], "bf16": [], "int8": [], "bandwidth": bandwidth(seconds)}
    for dtype, library, call in products(size):
        best = min(repeat(call, seconds, fewest=3)) / 1000
        found[dtype].append({"library": library, "ops_per_s": 2 * size**3 / best})
    return found


def products(size: int) -> list[Product]:
    """The square products that can be run here: format, library and call."""
    x, y = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    out = np.empty_like(x)
    return [("fp32", "numpy", lambda: np.matmul(x, y, out=out)), *_torch(x, y), *_onnxruntime(x, y)]


def bandwidth(seconds: float = SECONDS) -> list[dict[str, Any]]:
    """Bytes/s of a copy (read and written) and of a sum (read), over arrays that no cache holds."""
    source = np.ones(_LARGE // 4, dtype=np.float32)
    target = np.empty_like(source)
    copy = min(repeat(lambda: np.copyto(target, source), seconds, fewest=3)) / 1000
    read = min(repeat(lambda: source.sum(), seconds, fewest=3)) / 1000
    found = (("numpy copy", 2 * _LARGE / copy), ("numpy sum", _LARGE / read))
    return [{"library": library, "bytes_per_s": speed} for library, speed in found]


def _torch(x: np.ndarray, y: np.ndarray) -> list[Product]:
    try:
        import torch
    except ImportError:
        return []
    torch.set_num_threads(1)
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    a16, b16 = a.bfloat16(), b.bfloat16()
    a8, b8 = (tensor.mul(30).clamp(-127, 127).to(torch.int8) for tensor in (a, b))
    return [
        ("fp32", "torch.mm", lambda: torch.mm(a, b)),
        ("bf16", "torch.mm", lambda: torch.mm(a16, b16)),
        ("int8", "torch._int_mm", lambda: torch._int_mm(a8, b8)),
    ]


def _onnxruntime(x: np.ndarray, y: np.ndarray) -> list[Product]:
    try:
        import onnxruntime as ort
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return []
    made: list[Product] = []
    codes = np.clip(30 * y, -127, 127).astype(np.int8), np.clip(30 * x + 128, 0, 255).astype(np.uint8)
    for dtype, operator, weight, feed, kinds in (
        ("fp32", "MatMul", y, x, (TensorProto.FLOAT, TensorProto.FLOAT)),
        ("int8", "MatMulInteger", codes[0], codes[1], (TensorProto.UINT8, TensorProto.INT32)),
    ):
        # A constant matrix, as in a model: the runtime packs it once.
        node = helper.make_node(operator, ["x", "w"], ["z"])
        values = [helper.make_tensor_value_info(name, kind, x.shape) for name, kind in zip("xz", kinds, strict=True)]
        graph = helper.make_graph([node], "peak", values[:1], values[1:], [numpy_helper.from_array(weight, "w")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made.append((dtype, f"onnxruntime {operator}", partial(session.run, None, {"x": feed})))
    return made


if __name__ == "__main__":
    print(f"\n{MARK}{json.dumps(peaks())}", flush=True)
    sys.exit(0)
