"""tf-models-official: its reader of TF Hub encoders, which it trained LaBSE with, around ours."""

import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text  # noqa: F401 - the preprocessor's operators
from check import main
from official.nlp.tasks import utils


def load(folder, name):
    encoder = utils.get_encoder_from_hub(str(folder / "saved_model" / name))
    preprocess = hub.KerasLayer(str(folder / "saved_model" / "preprocess"))
    return lambda texts: encoder(preprocess(tf.constant(texts)))["pooled_output"]


main(load)
