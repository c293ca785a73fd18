"""What BERT's weights are called in TensorFlow 1 and 2 checkpoints and SavedModels, and in transformers.

One set of plain names stands between them, such as `layer.0.query.kernel`; arrays keep TensorFlow's layout (kernels
`[in, out]`), with the heads of attention merged. Shapes: H hidden size, N heads, S size of a head, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from compact_labse.errors import UserError

Weights = dict[str, np.ndarray]
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
TF1 = {
    r"bert/embeddings/word_embeddings": "words",
    r"bert/embeddings/position_embeddings": "positions",
    r"bert/embeddings/token_type_embeddings": "types",
    r"bert/embeddings/LayerNorm/(gamma|beta)": r"norm.\1",
    r"bert/encoder/layer_(\d+)/attention/self/(query|key|value)/(kernel|bias)": r"layer.\1.\2.\3",
    r"bert/encoder/layer_(\d+)/attention/output/dense/(kernel|bias)": r"layer.\1.out.\2",
    r"bert/encoder/layer_(\d+)/attention/output/LayerNorm/(gamma|beta)": r"layer.\1.attention_norm.\2",
    r"bert/encoder/layer_(\d+)/intermediate/dense/(kernel|bias)": r"layer.\1.up.\2",
    r"bert/encoder/layer_(\d+)/output/dense/(kernel|bias)": r"layer.\1.down.\2",
    r"bert/encoder/layer_(\d+)/output/LayerNorm/(gamma|beta)": r"layer.\1.norm.\2",
    r"bert/pooler/dense/(kernel|bias)": r"pooler.\1",
    r"cls/predictions/transform/dense/(kernel|bias)": r"mlm.dense.\1",
    r"cls/predictions/transform/LayerNorm/(gamma|beta)": r"mlm.norm.\1",
    r"cls/predictions/output_bias": "mlm.output_bias",
}
LAYER = {  # of Model Garden's transformer layer
    r"_attention_layer/_(query|key|value)_dense/(kernel|bias)": r"\1.\2",
    r"_attention_layer/_output_dense/(kernel|bias)": r"out.\1",
    r"_attention_layer_norm/(gamma|beta)": r"attention_norm.\1",
    r"_intermediate_dense/(kernel|bias)": r"up.\1",
    r"_output_dense/(kernel|bias)": r"down.\1",
    r"_output_layer_norm/(gamma|beta)": r"norm.\1",
}
MLM = {
    r"masked_lm/dense/(kernel|bias)": r"mlm.dense.\1",
    r"masked_lm/layer_norm/(gamma|beta)": r"mlm.norm.\1",
    r"masked_lm/output_bias\.Sbias": "mlm.output_bias",
    r"masked_lm/embedding_table": "words",
    r"next_sentence\.+pooler_dense/(kernel|bias)": r"pretrainer_pooler.\1",
    r"classification_heads/0/dense/(kernel|bias)": r"pretrainer_pooler.\1",
}
EMBEDDINGS = {  # of the functional encoder, by the number of the layer, and of the subclassed one, by attribute
    r"(?:layer_with_weights-0|_embedding_layer)/embeddings": "words",
    r"(?:layer_with_weights-1|_position_embedding_layer)/embeddings": "positions",
    r"(?:layer_with_weights-2|_type_embedding_layer)/embeddings": "types",
    r"(?:layer_with_weights-3|_embedding_norm_layer)/(gamma|beta)": r"norm.\1",
    r"_pooler_layer/(kernel|bias)": r"pooler.\1",
}
KERAS = {  # the variables of a SavedModel encoder, which its checkpoint only counts
    r"word_embeddings/embeddings": "words",
    r"position_embedding/embeddings": "positions",
    r"type_embeddings/embeddings": "types",
    r"embeddings/layer_norm/(gamma|beta)": r"norm.\1",
    r"transformer/layer_(\d+)/self_attention/(query|key|value)/(kernel|bias)": r"layer.\1.\2.\3",
    r"transformer/layer_(\d+)/self_attention/attention_output/(kernel|bias)": r"layer.\1.out.\2",
    r"transformer/layer_(\d+)/self_attention_layer_norm/(gamma|beta)": r"layer.\1.attention_norm.\2",
    r"transformer/layer_(\d+)/intermediate/(kernel|bias)": r"layer.\1.up.\2",
    r"transformer/layer_(\d+)/output/(kernel|bias)": r"layer.\1.down.\2",
    r"transformer/layer_(\d+)/output_layer_norm/(gamma|beta)": r"layer.\1.norm.\2",
    r"pooler_transform/(kernel|bias)": r"pooler.\1",
}
FIRST = 4  # the number of the functional encoder's first transformer layer
TRANSFORMERS = {
    "words": "embeddings.word_embeddings.weight",
    "positions": "embeddings.position_embeddings.weight",
    "types": "embeddings.token_type_embeddings.weight",
    "norm": "embeddings.LayerNorm",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "layer_norm": "output.LayerNorm",
    "pooler": "pooler.dense",
    "mlm.dense": "cls.predictions.transform.dense",
    "mlm.norm": "cls.predictions.transform.LayerNorm",
    "mlm.output_bias": "cls.predictions.bias",
}
ENDINGS = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
PARTS = ("query", "key", "value", "out", "up", "down")


def plain_name(name: str) -> str | None:
    """The plain name of a tensor of a TF1 checkpoint, a TF2 object checkpoint or a SavedModel; None if it is no part.

    Optimizer slots, counters and second copies (Keras lists a model's variables again) are no parts.
    """
    if not name.endswith(VALUE):
        return _matched(name, TF1) or _tail(name.removesuffix(":0"), KERAS)
    path = name.removesuffix(VALUE)
    if re.search(r"(^|/)(variables|trainable_variables|keras_api|optimizer)(/|$)|\.OPTIMIZER_SLOT", path):
        return None
    inner = re.search(r"(?:^|.*/)(layer_with_weights-(\d+)|_transformer_layers/(\d+))/(_.*)$", path)
    if inner is not None:
        number = int(inner[2]) - FIRST if inner[2] is not None else int(inner[3])
        part = _matched(inner[4], LAYER)
        return None if part is None else f"layer.{number}.{part}"
    found = _tail(path, MLM) or _tail(path, EMBEDDINGS)
    if found is None and (pooler := re.search(r"layer_with_weights-(\d+)/(kernel|bias)$", path)):
        return f"last.{int(pooler[1])}.{pooler[2]}"
    return found


def _matched(text: str, names: Mapping[str, str]) -> str | None:
    for pattern, plain in names.items():
        match = re.fullmatch(pattern, text)
        if match is not None:
            return match.expand(plain)
    return None


def _tail(path: str, names: Mapping[str, str]) -> str | None:
    for pattern, plain in names.items():
        match = re.fullmatch(rf"(?:.*/)?{pattern}", path)
        if match is not None:
            return match.expand(plain)
    return None


def layer_count(names: Iterable[str]) -> int:
    """How many transformer layers the plain names speak of."""
    numbers = {int(name.split(".")[1]) for name in names if name.startswith("layer.")}
    return max(numbers, default=-1) + 1


def wanted_names(layers: int) -> list[str]:
    """The plain names that every BERT of so many layers has."""
    norms = [f"{norm}.{end}" for norm in ("attention_norm", "norm") for end in ("gamma", "beta")]
    parts = [f"{part}.{end}" for part in PARTS for end in ("kernel", "bias")]
    each = [f"layer.{number}.{name}" for number in range(layers) for name in (*parts, *norms)]
    return ["words", "positions", "types", "norm.gamma", "norm.beta", *each]


def merged(weights: Mapping[str, np.ndarray], layers: int) -> Weights:
    """The weights with heads merged: kernels `[H, N, S]` and `[N, S, H]` as `[H, H]`, biases `[N, S]` as `[H]`.

    The pooler is the last numbered layer behind the transformer, where the checkpoint numbers its layers.
    UserError if a dense layer stands between embeddings and transformer: that is no BERT.
    """
    found = {}
    for name, array in weights.items():
        if name.startswith("last."):
            _, number, end = name.split(".")
            if int(number) != FIRST + layers:
                raise UserError("the checkpoint has a factorised embedding table, which is ALBERT's or MobileBERT's")
            name = f"pooler.{end}"
        if array.ndim == 3:
            size = array.shape[-1] if name.endswith("out.kernel") else array.shape[0]
            array = array.reshape(-1, size) if name.endswith("out.kernel") else array.reshape(size, -1)
        elif array.ndim == 2 and name.endswith(("query.bias", "key.bias", "value.bias")):
            array = array.reshape(-1)
        found[name] = array
    return found


def to_transformers(weights: Mapping[str, np.ndarray]) -> Weights:
    """The weights under transformers' names, kernels as `[out, in]`."""
    return {
        name: np.ascontiguousarray(array.T) if plain.endswith("kernel") else array
        for plain, array in weights.items()
        if (name := transformers_name(plain)) is not None
    }


def from_transformers(weights: Mapping[str, np.ndarray], layers: int) -> Weights:
    """The plain weights of transformers' ones; those that are missing are left out."""
    plains = [*wanted_names(layers), "pooler.kernel", "pooler.bias", "mlm.output_bias"]
    plains += [f"mlm.{part}" for part in ("dense.kernel", "dense.bias", "norm.gamma", "norm.beta")]
    found = {}
    for plain in plains:
        name = transformers_name(plain)
        if name is not None and name in weights:
            found[plain] = weights[name].T if plain.endswith("kernel") else weights[name]
    return found


def transformers_name(plain: str) -> str | None:
    """transformers' name of a plain one; None for what transformers does not keep."""
    if plain in TRANSFORMERS:
        return TRANSFORMERS[plain]
    head, _, end = plain.rpartition(".")
    prefix = ""
    if head.startswith("layer."):
        _, number, head = head.split(".")
        prefix, head = f"encoder.layer.{number}.", "layer_norm" if head == "norm" else head
    return f"{prefix}{TRANSFORMERS[head]}.{ENDINGS[end]}" if head in TRANSFORMERS else None
