"""The encoder SavedModel of TF Hub's interface: a dict of ids, mask and types in, a dict of vectors out, trainable.

`default` is the model's sentence vector. `pooled_output` is the same unless another pooler is asked for, which people
who fine-tune do: BERT's own, an untrained one, or the bare first token. Shapes: B batch, T tokens, H hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from compact_labse.errors import UserError
from compact_labse.formats.contract import Facts
from compact_labse.formats.saved_model.preprocess import INPUTS
from compact_labse.formats.tf.graph import POOLINGS, TFEncoder, unit

if TYPE_CHECKING:
    from compact_labse.torch_encoder import TorchEncoder

FACTS = Path("assets.extra/compact_labse.json")  # the place that SavedModel leaves to others
POOLERS = ("sentence", "dense", "untrained", "identity")
Outputs = dict[str, Any]
SPECS = {name: tf.TensorSpec([None, None], tf.int32, name=name) for name in INPUTS}


class Root(tf.train.Checkpoint):
    """What `hub.KerasLayer` trains: a call with `inputs` and `training`, and lists of variables."""

    def __init__(self, call: Callable[..., Outputs], specs: dict[str, tf.TensorSpec], *parts: tf.Module) -> None:
        super().__init__()
        self.__call__ = tf.function(call, autograph=False)
        for training in (False, True):
            self.__call__.get_concrete_function(specs, training=training)
        self.parts = list(parts)
        self.variables = _once(part.variables for part in parts)
        self.trainable_variables = _once(part.trainable_variables for part in parts)
        self.regularization_losses: list[Any] = []


def _once(groups: Iterable[Sequence[tf.Variable]]) -> list[tf.Variable]:
    """All variables in order; a tied table is one."""
    return list({id(variable): variable for group in groups for variable in group}.values())


class Body(tf.Module):
    """An encoder with what TF Hub calls its outputs.

    `pooler` is one of `POOLERS`: the sentence vector itself, the source's dense layer with tanh on the first token
    (`dense_weights`: kernel `[H, H]` and bias), one that is not trained, or the first token as it is. With
    `normalize=False` vectors keep the length that they have before the last step.
    """

    def __init__(
        self,
        encoder: TFEncoder,
        *,
        normalize: bool = True,
        pooler: str = "sentence",
        dense_weights: tuple[Any, Any] | None = None,
    ) -> None:
        super().__init__()
        if pooler not in POOLERS:
            raise UserError(f"unknown pooler {pooler!r}, expected one of {', '.join(POOLERS)}")
        self.encoder, self.normalize, self.pooler = encoder, normalize, pooler
        if pooler in ("dense", "untrained"):
            kernel, bias = dense_weights or _untrained(encoder)
            self.kernel, self.bias = tf.Variable(kernel, name="pooler_kernel"), tf.Variable(bias, name="pooler_bias")

    def __call__(self, inputs: dict[str, tf.Tensor], training: bool = False) -> Outputs:
        """`default`, `pooled_output`, `sequence_output` and the list `encoder_outputs`."""
        ids_BT, mask_BT, types_BT = (inputs[name] for name in INPUTS)
        layers = self.encoder.layers(ids_BT, mask_BT, types_BT, training)
        default_BD = self.encoder.finish(layers[-1], mask_BT)[1] if self.normalize else self._long(layers[-1], mask_BT)
        return {
            "default": default_BD,
            "pooled_output": default_BD if self.pooler == "sentence" else self._pool(layers[-1]),
            "sequence_output": layers[-1],
            "encoder_outputs": layers,
        }

    def _pool(self, hidden_BTH: tf.Tensor) -> tf.Tensor:
        first_BH = hidden_BTH[:, 0]
        return first_BH if self.pooler == "identity" else tf.tanh(tf.matmul(first_BH, self.kernel) + self.bias)

    def _long(self, hidden_BTH: tf.Tensor, mask_BT: tf.Tensor) -> tf.Tensor:
        """The sentence vector before it is scaled to unit length."""
        encoder = self.encoder
        for head in encoder.token_heads:
            hidden_BTH = head(hidden_BTH)
        sentence_BD = tf.concat([POOLINGS[mode](hidden_BTH, mask_BT) for mode in encoder.modes], axis=-1)
        heads = list(encoder.sentence_heads)
        while heads and heads[-1] is unit:
            heads.pop()
        for head in heads:
            sentence_BD = head(sentence_BD)
        return sentence_BD


def _untrained(encoder: TFEncoder) -> tuple[tf.Tensor, tf.Tensor]:
    size = int(encoder.config.get("hidden_size") or encoder.config.get("dim") or encoder.dim)
    spread = encoder.config.get("initializer_range", 0.02)
    return tf.random.stateless_normal([size, size], seed=(0, 1), stddev=spread), tf.zeros([size])


def encoder_root(body: Body) -> Root:
    """The object that is saved: callable, trainable."""
    return Root(lambda inputs, training=False: body(inputs, training), SPECS, body)


def ids_signature(body: Body) -> Any:
    """A signature with the three tensors by name, and `default`, `pooled_output`, `sequence_output`."""

    @tf.function(autograph=False, input_signature=[SPECS[name] for name in INPUTS])
    def signature(input_word_ids: tf.Tensor, input_mask: tf.Tensor, input_type_ids: tf.Tensor) -> Outputs:
        found = body(dict(zip(INPUTS, (input_word_ids, input_mask, input_type_ids), strict=True)))
        return {name: found[name] for name in ("default", "pooled_output", "sequence_output")}

    return signature


def facts_of(source: TorchEncoder, recipe: str, languages: list[str], *, normalized: bool = True) -> Facts:
    """What a reader of the SavedModel must know."""
    from compact_labse.folder import model_hash

    assert source.source is not None
    return Facts(
        dim=source.dim,
        pooling="+".join(source.module.modes),
        dtype="fp32",
        recipe=recipe,
        max_tokens=source.max_tokens or 0,
        pad_id=source.tokens.pad_id,
        special_tokens=source.tokens.special,
        prompt=source.tokens.prefix,
        normalized=normalized,
        languages=",".join(languages),
        source=model_hash(source.source),
    )


def save(root: Any, folder: Path, signatures: Any, facts: Facts) -> None:
    """Write a SavedModel and its facts into a folder that does not exist yet."""
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(root, str(folder), signatures=signatures, options=options)
    (folder / FACTS).parent.mkdir(exist_ok=True)
    (folder / FACTS).write_text(json.dumps(facts.properties(), indent=2) + "\n", encoding="utf-8")
