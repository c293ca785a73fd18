"""SavedModels as TF Hub defines them: what they take and give, that they train, and that damage does not get a name."""

import json
import shutil

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="SavedModels need the extra 'tensorflow'")
pytest.importorskip("tensorflow_text", reason="SavedModels need the extra 'tensorflow'")

from compact_labse import load  # noqa: E402
from compact_labse.cli import main  # noqa: E402
from compact_labse.errors import GateError, UserError  # noqa: E402
from compact_labse.formats.saved_model import write as saved_model_write  # noqa: E402
from compact_labse.formats.saved_model.encoder import Body, encoder_root  # noqa: E402
from compact_labse.formats.saved_model.mlm import MaskedLM, mlm_root, mlm_weights  # noqa: E402
from compact_labse.formats.tf import graph as tf_graph  # noqa: E402
from compact_labse.pipelines import load_pipeline  # noqa: E402
from compact_labse.tokens import pad  # noqa: E402
from compact_labse.torch_encoder import TorchEncoder  # noqa: E402

PIPELINE = load_pipeline("export", "saved_model_export")
TEXTS = ["The train to the coast leaves at a quarter past nine.", "Guten Morgen", "", "[MASK] 明天会下雨"]
NAMES = ("input_word_ids", "input_mask", "input_type_ids")


def export(**config):
    return PIPELINE.run(PIPELINE.SavedModelExport(**config))


def feed(encoder, texts=TEXTS):
    ids_BT, mask_BT = pad(encoder.tokenize(texts), encoder.tokens.pad_id)
    return {
        name: tf.constant(array, tf.int32) for name, array in zip(NAMES, (ids_BT, mask_BT, 0 * ids_BT), strict=True)
    }


@pytest.fixture(scope="module")
def labse(tiny):
    return TorchEncoder.open(tiny("labse"), device="cpu")


@pytest.fixture(scope="module")
def twin(labse):
    return tf_graph.express(labse.module)


@pytest.fixture(scope="module")
def exported(tiny, tmp_path_factory):
    """A bag of tokens, which is the fastest to export."""
    out = tmp_path_factory.mktemp("exported") / "static"
    export(model=str(tiny("static")), out=out)
    return out


def test_the_dict_is_that_of_tf_hub(labse, twin):
    found = Body(twin)(feed(labse))
    assert set(found) == {"default", "pooled_output", "sequence_output", "encoder_outputs"}
    assert found["pooled_output"].shape == found["default"].shape == (4, 12)
    assert found["sequence_output"].shape[2] == 16
    assert len(found["encoder_outputs"]) == 2
    np.testing.assert_array_equal(found["encoder_outputs"][-1], found["sequence_output"])
    np.testing.assert_allclose(found["default"], labse.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found["default"], axis=1), 1, atol=1e-5)
    assert np.abs(found["encoder_outputs"][0] - found["sequence_output"]).max() > 0.01


def test_vectors_can_keep_their_length(labse, twin):
    unit, long = (Body(twin, normalize=normalize)(feed(labse))["default"].numpy() for normalize in (True, False))
    assert np.abs(np.linalg.norm(long, axis=1) - 1).min() > 0.1
    np.testing.assert_allclose(long / np.linalg.norm(long, axis=1, keepdims=True), unit, atol=1e-5)


def test_poolers_change_pooled_output_alone(labse, twin):
    plain = Body(twin)(feed(labse))
    first = plain["sequence_output"][:, 0].numpy()
    kernel, bias = np.eye(16, dtype=np.float32) * 2, np.ones(16, np.float32)
    outputs = {
        name: Body(twin, pooler=name, dense_weights=(kernel, bias) if name == "dense" else None)(feed(labse))
        for name in ("identity", "dense", "untrained")
    }
    for found in outputs.values():
        np.testing.assert_array_equal(found["default"], plain["default"])
    np.testing.assert_array_equal(outputs["identity"]["pooled_output"], first)
    np.testing.assert_allclose(outputs["dense"]["pooled_output"], np.tanh(2 * first + 1), atol=1e-6)
    assert 0 < np.abs(outputs["untrained"]["pooled_output"]).max() < 1
    with pytest.raises(UserError, match="unknown pooler 'best', expected one of sentence, dense"):
        Body(twin, pooler="best")


def test_a_pooler_is_copied_from_the_source_or_missed(tiny_copy):
    from compact_labse.weights import dense_pooler, read_weights

    folder = tiny_copy("minilm")
    kernel, bias = dense_pooler(folder)
    np.testing.assert_array_equal(kernel.T, read_weights(folder)["pooler.dense.weight"])
    assert bias.shape == (16,)
    with pytest.raises(UserError, match=r"has no pooler\.dense"):
        dense_pooler(tiny_copy("electra"))


def test_a_root_has_what_keras_layers_of_tf_hub_train(labse, twin):
    root = encoder_root(Body(twin))
    names = len(root.trainable_variables)
    assert names == len(root.variables) == len(twin.trainable_variables) > 30
    assert root.regularization_losses == []
    before = [variable.numpy() for variable in root.trainable_variables]
    inputs = feed(labse)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(root.__call__(inputs, training=True)["default"] ** 3)
    gradients = tape.gradient(loss, root.trainable_variables)
    changed = [g is not None and float(tf.reduce_max(tf.abs(tf.convert_to_tensor(g)))) > 0 for g in gradients]
    assert sum(changed) > 0.8 * len(before)  # key biases change nothing, whatever they are


def test_mlm_logits_are_those_of_transformers(tmp_path):
    import torch
    from transformers import BertConfig, BertForMaskedLM

    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 20}
    torch.manual_seed(3)
    config = BertConfig(num_hidden_layers=2, num_attention_heads=2, initializer_range=0.3, **sizes)
    model = BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.cls.predictions.bias)
    model.save_pretrained(tmp_path)
    from compact_labse.sentence_model import read_plain

    body = Body(tf_graph.express(read_plain(tmp_path, "mean")))
    head = MaskedLM(body, mlm_weights(tmp_path))
    root = mlm_root(body, head)
    ids = torch.tensor([[2, 7, 8, 9, 3], [2, 11, 12, 3, 0]])
    inputs = {"input_word_ids": ids, "input_mask": (ids > 0).int(), "input_type_ids": 0 * ids}
    inputs = {name: tf.constant(tensor.numpy(), tf.int32) for name, tensor in inputs.items()}
    positions = np.array([[1, 3], [2, 0]], np.int32)
    found = root.__call__(inputs | {"masked_lm_positions": tf.constant(positions)}, training=False)
    assert set(found) == {"pooled_output", "sequence_output", "encoder_outputs", "mlm_logits"}
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=(ids > 0).long()).logits.numpy()
    np.testing.assert_allclose(found["mlm_logits"], np.take_along_axis(expected, positions[:, :, None], 1), atol=2e-4)
    assert len(root.trainable_variables) == len(body.trainable_variables) + 5  # the table is tied, not counted twice


def test_an_mlm_head_that_the_source_lacks_is_untrained(tiny, labse, twin):
    assert mlm_weights(tiny("labse")) is None
    head = MaskedLM(Body(twin))
    assert float(tf.reduce_max(tf.abs(head.output_bias))) == 0
    assert head(tf.ones([1, 3, 16]), tf.constant([[0, 2]])).shape == (1, 2, labse.module.body.rows)
    with pytest.raises(UserError, match="the MLM head is for"):
        weights = {"kernel": np.ones((3, 3), np.float32), "bias": 0, "gamma": 0, "beta": 0, "output_bias": np.ones(4)}
        MaskedLM(Body(twin), weights)


def test_an_export_can_be_loaded_and_is_its_source(exported, tiny):
    source, encoder = load(tiny("static")), load(exported / "saved_model" / "encoder")
    assert encoder.facts.pooling == "mean"
    np.testing.assert_allclose(encoder.encode(TEXTS), source.encode(TEXTS), atol=1e-5)
    report = json.loads((exported / "saved_model" / "parity.json").read_text())["artifacts"]["encoder"]
    assert report["passed"] is True
    assert report["figures"]["worst_cosine"]["value"] >= 0.99999
    assert {"encoder/saved_model.pb", "encoder/variables/variables.index", "tokenizer.json"} <= set(report["sha256"])
    assert main(["verify", str(exported)]) == 0


@pytest.mark.parametrize("file", ["saved_model.pb", "assets.extra/compact_labse.json"])
def test_a_changed_file_is_refused(exported, tmp_path, file):
    copy = shutil.copytree(exported, tmp_path / "copy")
    path = copy / "saved_model" / "encoder" / file
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="is not the file that"):
        load(copy / "saved_model" / "encoder")


def test_a_damaged_encoder_gets_no_name(tiny_copy, monkeypatch):
    folder, sound = tiny_copy("static"), tf_graph.express

    def damaged(module):
        found = sound(module)
        found.body.words.table.assign(found.body.words.table[::-1])
        return found

    monkeypatch.setattr(saved_model_write.tf_graph, "express", damaged)
    with pytest.raises(GateError, match=r"encoder was not written, \d gates failed"):
        export(model=str(folder))
    assert not (folder / "saved_model").exists()


def test_wrong_settings_are_named(capsys, tiny):
    with pytest.raises(UserError, match="unknown export type 'all', expected some of model, model_with_mlm"):
        PIPELINE.SavedModelExport(model="m", types=("all",))
    with pytest.raises(UserError, match="default_seq_length must be at least 3, got 2"):
        PIPELINE.SavedModelExport(model="m", default_seq_length=2)
    with pytest.raises(UserError, match="only for a reason"):
        PIPELINE.SavedModelExport(model="m", loosen={"tokens": 0.5})
    with pytest.raises(UserError, match="a bag of tokens has no masked language model"):
        export(model=str(tiny("static")), types=("model_with_mlm",))
    words = ["--saved-model", "--pooler", "identity", "--copy-pooler-dense-to-encoder"]
    assert main(["export", str(tiny("static")), *words]) == 2
    assert "--copy-pooler-dense-to-encoder is --pooler dense" in capsys.readouterr().err


def test_a_folder_without_facts_is_not_ours(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "other"))
    with pytest.raises(UserError, match="was not written by `compact-labse export`"):
        load(tmp_path / "other")
