"""Our SavedModels in software that nobody here wrote: TF Hub under tf-keras, Keras 3, Model Garden, saved_model_cli.

Model Garden needs an environment of its own (pip install tf-models-official); name its python in COMPACT_LABSE_TFM.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="SavedModels need the extra 'tensorflow'")
pytest.importorskip("tensorflow_hub", reason="SavedModels need the extra 'tensorflow'")

from compact_labse import load
from compact_labse.conversion.convert import Conversion, convert
from compact_labse.conversion.to_tf2 import to_tf2
from compact_labse.pipelines import load_pipeline

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # a TensorFlow of its own for each test
ROOT = Path(__file__).resolve().parents[3]
TEXTS = ["The train to the coast leaves at a quarter past nine.", "Guten Morgen", ""]


def run(code, *words, python=sys.executable, **environment):
    """The JSON that a script prints last, run in a process of its own with a fresh TensorFlow."""
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", **environment}
    path = {} if python != sys.executable else {"PYTHONPATH": str(ROOT)}
    command = [python, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings, **path}, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    pipeline = load_pipeline("export", "saved_model_export")
    out = tmp_path_factory.mktemp("exported") / "labse"
    types = ("model_with_mlm", "preprocessing", "serving")
    return pipeline.run(pipeline.SavedModelExport(model=str(tiny("labse")), types=types, out=out))


HUB = """
import json, sys
import numpy as np, tensorflow as tf, tensorflow_hub as hub, tensorflow_text, tf_keras
folder, texts = sys.argv[1], tf.constant(json.loads(sys.argv[2]))
preprocess, encoder = hub.KerasLayer(folder + "/preprocess"), hub.KerasLayer(folder + "/encoder_mlm", trainable=True)
vectors = encoder(preprocess(texts))["default"].numpy()
strings = hub.KerasLayer(folder + "/serving")(texts).numpy()

tf_keras.utils.set_random_seed(0)  # a step of unlucky weights overshoots
text = tf_keras.layers.Input(shape=(), dtype=tf.string)
model = tf_keras.Model(text, tf_keras.layers.Dense(1)(encoder(preprocess(text))["default"]))
model.compile(optimizer=tf_keras.optimizers.SGD(0.05), loss="mse")
before = [v.numpy() for v in encoder.trainable_variables]
losses = [float(model.train_on_batch(texts, tf.constant([[1.0], [0.0], [2.0]]))) for _ in range(2)]
moved = [bool(np.any(a != b.numpy())) for a, b in zip(before, encoder.trainable_variables)]
mlm = hub.KerasLayer(encoder.resolved_object.mlm, trainable=True)
inputs = dict(preprocess(texts), masked_lm_positions=tf.constant([[1, 2], [1, 1], [0, 1]]))
logits = mlm(inputs)["mlm_logits"]
print(json.dumps({"vectors": vectors.tolist(), "strings": strings.tolist(), "losses": losses, "moved": sum(moved),
    "variables": len(moved), "mlm": list(logits.shape), "mlm_variables": len(mlm.trainable_variables)}))
"""


def test_hub_keras_layers_give_our_vectors_and_train(exported, tiny):
    found = run(HUB, exported, json.dumps(TEXTS), TF_USE_LEGACY_KERAS="1")
    expected = load(tiny("labse")).encode(TEXTS)
    np.testing.assert_allclose(found["vectors"], expected, atol=1e-5)
    np.testing.assert_allclose(found["strings"], expected, atol=1e-5)
    assert found["losses"][1] < found["losses"][0]
    assert found["variables"] > 30
    assert found["moved"] > 0.8 * found["variables"]
    assert found["mlm"] == [3, 2, load(tiny("labse")).module.body.rows]
    assert found["mlm_variables"] == found["variables"] + 5


KERAS3 = """
import json, sys
import keras, tensorflow as tf, tensorflow_hub as hub, tensorflow_text


class Vectors(keras.layers.Layer):
    def __init__(self, folder):
        super().__init__(trainable=False)
        self.loaded = hub.load(folder)

    def call(self, texts):
        return self.loaded(texts)


found = Vectors(sys.argv[1] + "/serving")(tf.constant(json.loads(sys.argv[2])))
print(json.dumps({"keras": keras.__version__, "vectors": found.numpy().tolist()}))
"""


def test_a_layer_of_keras_3_gives_our_vectors(exported, tiny):
    found = run(KERAS3, exported, json.dumps(TEXTS), TF_USE_LEGACY_KERAS="0")
    assert found["keras"].startswith("3")
    np.testing.assert_allclose(found["vectors"], load(tiny("labse")).encode(TEXTS), atol=1e-5)


def test_saved_model_cli_shows_and_runs_the_signatures(exported):
    tool = Path(sys.executable).with_name("saved_model_cli")
    if not tool.is_file():
        pytest.skip("saved_model_cli is not installed beside python")
    command = [tool, "show", "--dir", exported / "serving", "--tag_set", "serve", "--all"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    for words in ("serving_default", "inputs['text']", "outputs['sentence_embedding']", "inputs['input_word_ids']"):
        assert words in done.stdout, done.stderr[-2000:]


@pytest.fixture
def garden():
    python = os.environ.get("COMPACT_LABSE_TFM", "")
    if not Path(python).is_file() or not python:
        pytest.skip("needs the python of an environment with tf-models-official in COMPACT_LABSE_TFM")
    return python


GARDEN = """
import json, sys
import tensorflow as tf, tf_keras, tensorflow_hub as hub, tensorflow_text
from official.nlp.tasks import utils
folder, texts = sys.argv[1], tf.constant(json.loads(sys.argv[2]))
encoder = utils.get_encoder_from_hub(folder + "/encoder_mlm")
found = encoder(hub.KerasLayer(folder + "/preprocess")(texts))["pooled_output"]
print(json.dumps(found.numpy().tolist()))
"""


def test_model_garden_loads_our_encoder_and_preprocessing_as_it_loads_labse(garden, exported, tiny):
    found = run(GARDEN, exported, json.dumps(TEXTS), python=garden, TF_USE_LEGACY_KERAS="1")
    np.testing.assert_allclose(found, load(tiny("labse")).encode(TEXTS), atol=1e-5)


RESTORE = """
import json, sys
import tensorflow as tf
from official.legacy.bert import configs
from official.nlp.tools import export_tfhub_lib as lib
folder = sys.argv[1]
encoder = lib.get_bert_encoder(configs.BertConfig.from_json_file(folder + "/bert_config.json"))
status = tf.train.Checkpoint(model=encoder, encoder=encoder).read(folder + "/bert_model.ckpt")
status.assert_existing_objects_matched()
inputs = {name: tf.constant(rows) for name, rows in json.loads(sys.argv[2]).items()}
found = encoder(inputs)
again = tf.train.Checkpoint(encoder=encoder).write(folder + "/again.ckpt")
lib.export_model(folder + "/theirs", bert_config=configs.BertConfig.from_json_file(folder + "/bert_config.json"),
    model_checkpoint_path=folder + "/bert_model.ckpt", with_mlm=False, vocab_file=folder + "/vocab.txt",
    do_lower_case=False)
print(json.dumps({name: found[name].numpy().tolist() for name in ("sequence_output", "pooled_output")}))
"""


def test_model_garden_restores_our_checkpoint_and_we_read_what_it_writes(garden, tiny, tmp_path):
    import torch

    out = to_tf2(tiny("minilm"), tmp_path / "tf2")
    ids = [[2, 40, 41, 42, 3]]
    inputs = {"input_word_ids": ids, "input_mask": [[1] * 5], "input_type_ids": [[0] * 5]}
    found = run(RESTORE, out, json.dumps(inputs), python=garden, TF_USE_LEGACY_KERAS="1")
    source = load(tiny("minilm"))
    with torch.inference_mode():
        hidden = source.module.body(torch.tensor(ids), torch.ones(1, 5, dtype=torch.long)).numpy()
    # Model Garden's GELU is the approximation by tanh
    np.testing.assert_allclose(found["sequence_output"], hidden, atol=1e-3)
    for number, path in enumerate((out / "again.ckpt", out / "theirs")):
        folder = convert(
            Conversion(
                source=path,
                out=tmp_path / str(number),
                pooling="pooler",
                config=out / "bert_config.json",
                vocab_file=out / "vocab.txt",
                do_lower_case=False,
            )
        )
        pooled = np.array(found["pooled_output"])
        expected = pooled / np.linalg.norm(pooled)
        np.testing.assert_allclose(load(folder).forward(np.array(ids), np.ones((1, 5), np.int64)), expected, atol=1e-4)
