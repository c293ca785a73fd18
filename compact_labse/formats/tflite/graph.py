"""From an encoder to the bytes of a TFLite model: by TensorFlow, with any batch and length, or else by litert-torch.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from compact_labse.errors import UserError
from compact_labse.formats.contract import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from compact_labse.formats.tf.graph import TFEncoder
    from compact_labse.torch_encoder import TorchEncoder

CONVERTERS = {"tensorflow": "tensorflow", "litert_torch": "litert-torch"}  # module to extra, in order of preference


def converter_here() -> str:
    """The installed converter, "tensorflow" before "litert_torch"; UserError naming both extras if neither is."""
    for module in CONVERTERS:
        if importlib.util.find_spec(module) is not None:
            return module
    raise UserError(
        "writing TFLite needs TensorFlow, for files that take any batch and length (pip install "
        "'compact-labse[tflite,tensorflow]'), or litert-torch, for fixed lengths (pip install "
        "'compact-labse[litert-torch]')"
    )


def convert(encoder: TorchEncoder, kind: str, converter: str, texts: Sequence[str] = ()) -> bytes:
    """The model in one of the formats of `contract.TFLITE_FILES`, without metadata.

    `texts` are what int8-static finds its ranges on.
    """
    if converter == "litert_torch":
        from compact_labse.formats.tflite.fixed import convert_fixed

        return convert_fixed(encoder, kind)
    return convert_dynamic(encoder, kind, texts=texts)


def convert_dynamic(
    encoder: TorchEncoder,
    kind: str,
    shape: tuple[int | None, int | None] = (None, None),
    *,
    texts: Sequence[str] = (),
    sparse: bool = False,
) -> bytes:
    """By TensorFlow: one signature `serving_default`, batch and length dynamic or as named, a scale a column.

    `sparse` lets the converter store zeros as it does experimentally; no runtime of ours gains by it.
    """
    import tensorflow as tf

    twin = _twin(encoder, kind, texts)
    specs = [tf.TensorSpec(shape, tf.int32, name=name) for name in INPUTS]

    @tf.function(input_signature=specs)
    def embed(input_ids: tf.Tensor, attention_mask: tf.Tensor, token_type_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUTS[1]: twin(input_ids, attention_mask, token_type_ids)[1]}

    twin.embed = embed  # the converter wants to find the function on its module
    converter = tf.lite.TFLiteConverter.from_concrete_functions([embed.get_concrete_function()], twin)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if kind != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if sparse:
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    with quiet():
        return converter.convert()


def _twin(encoder: TorchEncoder, kind: str, texts: Sequence[str]) -> TFEncoder:
    """The encoder in TensorFlow, with the tables, attention and layers of a format."""
    from compact_labse.formats.tf.graph import express
    from compact_labse.formats.tflite.attention import InvariantBlock
    from compact_labse.formats.tflite.tables import maker

    tables = maker(kind, encoder.module.body.rows)
    if kind != "int8-static":
        return express(encoder.module, tables, InvariantBlock)
    from compact_labse.formats.tflite.static import StaticBlock, maker_of

    return express(encoder.module, tables, StaticBlock, maker_of(encoder, texts))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what converters print to both streams of the process, unless they fail."""
    with tempfile.TemporaryFile() as log:
        saved = [os.dup(stream) for stream in (1, 2)]
        try:
            for stream in (1, 2):
                os.dup2(log.fileno(), stream)
            yield
        except Exception as error:
            log.seek(0)
            lines = [line for line in log.read().decode(errors="replace").splitlines() if "error:" in line]
            raise UserError(f"the converter failed: {(lines or [str(error)])[0][:300]}") from error
        finally:
            for stream, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
