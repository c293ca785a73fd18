"""TFLite without TensorFlow: litert-torch traces the PyTorch module for each length, ai-edge-quantizer takes bits away.

One signature per length, `tokens_16` and so on, each for one text; all share their weights.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from compact_labse.errors import Unsuitable, require
from compact_labse.formats.contract import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from compact_labse.torch_encoder import TorchEncoder

LENGTHS = (16, 32, 64, 128)
LONGEST = 512  # tokens: what a model without a limit of its own is cut at
TABLE_BITS = {"int8": 8, "int4": 4}


class Sentence(nn.Module):
    """A `SentenceModel` that gives the sentence vectors alone, by name."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
        """Unit vectors `[B, D]` under the contract's name."""
        return {OUTPUTS[1]: self.module(input_ids, attention_mask, token_type_ids)[1]}


def lengths_of(max_tokens: int | None) -> tuple[int, ...]:
    """The lengths that get a signature: 16, 32, 64, 128 as far as texts go, and the longest that the model takes."""
    longest = min(max_tokens or LONGEST, LONGEST)
    return (*(length for length in LENGTHS if length < longest), longest)


def convert_fixed(encoder: TorchEncoder, kind: str) -> bytes:
    """The model in one of the formats of `contract.TFLITE_FILES`, for texts of at most its `max_tokens`."""
    from compact_labse.formats.tflite.graph import quiet

    litert_torch: Any = require("litert_torch", "litert-torch")
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.tflite"
        converter, module = litert_torch, Sentence(encoder.module).eval()
        for length in lengths_of(encoder.max_tokens):
            ones = torch.ones(1, length, dtype=torch.int32)
            example = dict(zip(INPUTS, (ones, ones.clone(), torch.zeros_like(ones)), strict=True))
            converter = converter.signature(f"tokens_{length}", module, sample_kwargs=example)
        converter.convert().export(str(path))
        return path.read_bytes() if kind == "fp32" else quantized(path, kind)


def quantized(path: Path, kind: str) -> bytes:
    """A float32 file with linear layers and tables stored in the bits of a format, a scale a row."""
    from ai_edge_quantizer import qtyping, quantizer

    made = quantizer.Quantizer(str(path))
    linear, table = qtyping.TFLOperationName.FULLY_CONNECTED, qtyping.TFLOperationName.EMBEDDING_LOOKUP
    if kind == "fp16":
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(weight_tensor_config=half)
        for name in (linear, table):
            made.update_quantization_recipe(".*", name, config, quantizer.algorithm_manager.AlgorithmName.FLOAT_CASTING)
    else:
        made.add_dynamic_config(".*", linear, 8)
        made.add_weight_only_config(".*", table, TABLE_BITS[kind])
    result = made.quantize(enable_progress_bar=False, enable_progress_report=False)
    if result.quantized_model is None:
        raise Unsuitable(f"there is nothing in this model to store in {kind}")
    return bytes(result.quantized_model)
