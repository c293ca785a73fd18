"""The same ONNX artifact once more: under the name that a peer looks for, and in ONNX Runtime's format for phones."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path

from compact_labse.errors import Unsuitable, require
from compact_labse.writing import link

# transformers.js calls its default in browsers q8 and looks for `_quantized`; its fp32, fp16, int8 are named as ours.
ALIASES = {"int8": "model_quantized.onnx", "int4": "model_q4.onnx"}
ORT_LIMIT = 2_000_000_000  # bytes that a flatbuffer can hold


def alias(path: Path, name: str) -> Path:
    """The artifact under another name beside it: a hard link, so that it takes no room on this disk."""
    if path.with_name(f"{path.name}_data").exists():
        raise Unsuitable(f"{path.name} has its weights in a second file, under a name that no other artifact can have")
    other = path.with_name(name)
    other.unlink(missing_ok=True)
    link(str(path), str(other))
    return other


def to_ort(path: Path) -> Path:
    """The artifact as `<name>.ort`, and beside it `<name>.required_operators.config` for building a minimal runtime.

    Graph optimizations are applied while converting, those for one kind of CPU left out.
    """
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    if size > ORT_LIMIT:
        raise Unsuitable(f"{path.name} has {size / 1e9:.1f} GB, an .ort file holds less than 2")
    require("onnx", "onnx")
    from onnxruntime.tools.convert_onnx_models_to_ort import OptimizationStyle, convert_onnx_models_to_ort

    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            convert_onnx_models_to_ort(path, optimization_styles=[OptimizationStyle.Fixed])
    finally:
        logging.disable(logging.NOTSET)
    config = path.with_suffix(".required_operators.config")
    lines = [line for line in config.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    config.write_text("\n".join([f"# of {path.with_suffix('.ort').name}", *lines]) + "\n", encoding="utf-8")
    return path.with_suffix(".ort")
