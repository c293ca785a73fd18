"""tf-models-official: its DualEncoder around our encoder, as it was made for LaBSE."""

import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text  # noqa: F401 - the preprocessor's operators
from check import main
from official.nlp.modeling import models
from official.nlp.tasks import utils


def load(folder, name):
    encoder = utils.get_encoder_from_hub(str(folder / "saved_model" / name))
    preprocess = hub.KerasLayer(str(folder / "saved_model" / "preprocess"))
    dual = models.DualEncoder(encoder, max_seq_length=None, normalize=True, output="predictions")

    def embed(texts):
        inputs = preprocess(tf.constant(texts))
        return dual([inputs[name] for name in ("input_word_ids", "input_mask", "input_type_ids")])["pooled_output"]

    return embed


main(load)
