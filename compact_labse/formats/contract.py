"""What every ONNX file of ours looks like from outside: inputs, outputs, metadata, file names. Needs no library.

Shapes: B batch, T tokens, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from compact_labse.errors import UserError

INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # int64 [batch, tokens], both axes dynamic
OUTPUTS = ("last_hidden_state", "sentence_embedding")  # float32 [batch, tokens, dim], [batch, dim] of length 1

# Opset 18 with IR 8 is what ONNX Runtime 1.14 (2023) and everything since reads.
OPSET, IR_VERSION = 18, 8

FOLDER, TFLITE_FOLDER, PARITY = "onnx", "tflite", "parity.json"
RANGES = "ranges.json"  # in a model folder: what training in 8 bits found for static exports
FILES = {
    "fp32": "model.onnx",
    "fp16": "model_fp16.onnx",
    "int8": "model_int8.onnx",
    "int8-static": "model_int8_static.onnx",
    "int8-dynamic": "model_int8_dynamic.onnx",
    "int4": "model_int4.onnx",
    "int3": "model_int3.onnx",
    "int2": "model_int2.onnx",
}
TFLITE_FILES = {
    "fp32": "model.tflite",
    "fp16": "model_fp16.tflite",
    "int8": "model_int8.tflite",
    "int8-static": "model_int8_static.tflite",
    "int4": "model_int4.tflite",
}
# What `--all` writes; those left out are second best (slower, less exact, or not batch-invariant), or for few models.
ALL = ("fp32", "fp16", "int8", "int4", "int3")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a reader must know to feed an exported file, stored in it as metadata properties.

    `max_tokens` is 0 where texts are not cut. `source` is the hash of the model that the file was made from. `recipe`
    says how the weights are stored. `batch_invariant` is false where a text's vector depends on its neighbours in the
    batch. `languages` are those that the gates checked, separated by commas.
    """

    dim: int
    pooling: str
    dtype: str
    recipe: str
    max_tokens: int = 0
    pad_id: int = 0
    special_tokens: bool = True
    prompt: str = ""
    normalized: bool = True
    batch_invariant: bool = True
    languages: str = ""
    source: str = ""

    def properties(self) -> dict[str, str]:
        """The metadata properties: names to strings, booleans as "true" and "false"."""
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in _items(self)}

    @classmethod
    def read(cls, properties: Mapping[str, str], where: object) -> Facts:
        """The facts in a file's metadata properties; UserError naming the file if one is missing or no number."""
        found: dict[str, str | int | bool] = {}
        for field in fields(cls):
            text = properties.get(field.name)
            if text is None:
                raise UserError(
                    f"{where} has no metadata property {field.name!r}: it was not written by `compact-labse export`, "
                    f"or by an older version; export the model again."
                )
            found[field.name] = _parse(field.name, str(field.type), text, where)
        return cls(**found)  # type: ignore[arg-type]


def _items(facts: Facts) -> list[tuple[str, str | int | bool]]:
    return list(asdict(facts).items())


def _parse(name: str, kind: str, text: str, where: object) -> str | int | bool:
    if kind == "str":
        return text
    if kind == "bool" and text in ("true", "false"):
        return text == "true"
    if kind == "int" and text.lstrip("-").isdigit():
        return int(text)
    raise UserError(f"{where}: the metadata property {name!r} should be of type {kind}, got {text!r}.")
