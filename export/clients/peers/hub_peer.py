"""tensorflow-hub: `serving` takes strings; `encoder` and `preprocess` are used as LaBSE's and its preprocessor are."""

import tensorflow as tf
import tensorflow_hub as hub
import tensorflow_text  # noqa: F401 - the preprocessor's operators
from check import main


def load(folder, name):
    if name == "serving":
        serving = hub.load(str(folder / "saved_model" / name))
        return lambda texts: serving(tf.constant(texts)).numpy()
    preprocess = hub.KerasLayer(str(folder / "saved_model" / "preprocess"))
    encoder = hub.KerasLayer(str(folder / "saved_model" / name))
    return lambda texts: encoder(preprocess(tf.constant(texts)))["default"].numpy()


main(load)
