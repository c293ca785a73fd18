"""Checkpoints of TensorFlow in and out, with tiny random BERTs in every layout."""

import json
import shutil

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow", reason="checkpoints need the extra 'tensorflow'")

from compact_labse import load  # noqa: E402
from compact_labse.cli import main  # noqa: E402
from compact_labse.conversion import bert_forward  # noqa: E402
from compact_labse.conversion.bert_checkpoint import read_bert  # noqa: E402
from compact_labse.conversion.bert_names import plain_name, wanted_names  # noqa: E402
from compact_labse.conversion.convert import Conversion, convert  # noqa: E402
from compact_labse.conversion.to_tf2 import to_tf2  # noqa: E402
from compact_labse.errors import GateError, UserError  # noqa: E402
from compact_labse.folder import read_lineage  # noqa: E402
from compact_labse.pipelines import load_pipeline  # noqa: E402
from compact_labse.torch_encoder import TorchEncoder  # noqa: E402

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "##e", "##n", "the", "."]
CONFIG = {
    "vocab_size": len(PIECES), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "hidden_act": "gelu", "max_position_embeddings": 40, "type_vocab_size": 2,
}  # fmt: skip
NAMES = ("input_word_ids", "input_mask", "input_type_ids")
TF1 = {"attention_norm": "attention/output/LayerNorm", "norm": "output/LayerNorm", "out": "attention/output/dense"}
TF1 |= {part: f"attention/self/{part}" for part in ("query", "key", "value")}
TF1 |= {"up": "intermediate/dense", "down": "output/dense"}


def arrays(config=CONFIG):
    """Random weights by the names of a TF1 checkpoint."""
    rng = np.random.default_rng(5)
    size, inner = config["hidden_size"], config["intermediate_size"]
    shapes = {"words": (config["vocab_size"], size), "positions": (40, size), "types": (2, size)}
    names = {"words": "word_embeddings", "positions": "position_embeddings", "types": "token_type_embeddings"}
    found = {}
    for plain in [*wanted_names(config["num_hidden_layers"]), "pooler.kernel", "pooler.bias"]:
        shape = shapes.get(plain, (size, size) if plain.endswith("kernel") else (size,))
        shape = {"up.kernel": (size, inner), "up.bias": (inner,), "down.kernel": (inner, size)}.get(
            plain.split(".", 2)[-1], shape
        )
        if plain in names:
            name = f"bert/embeddings/{names[plain]}"
        elif plain.startswith("layer."):
            _, number, part, end = plain.split(".")
            name = f"bert/encoder/layer_{number}/{TF1[part]}/{end}"
        else:
            name = f"bert/embeddings/LayerNorm/{plain[5:]}" if plain[0] == "n" else f"bert/pooler/dense/{plain[7:]}"
        assert plain_name(name) == plain
        found[name] = rng.normal(0, 0.5, shape).astype(np.float32)
    return found


def write_tf1(folder, tensors, config=CONFIG):
    folder.mkdir()
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        extra = {"global_step": np.int64(7), "bert/pooler/dense/bias/adam_m": np.zeros(8, np.float32)}
        variables = [tf.compat.v1.get_variable(name, initializer=array) for name, array in {**tensors, **extra}.items()]
        session.run([variable.initializer for variable in variables])
        tf.compat.v1.train.Saver(variables).save(session, str(folder / "bert_model.ckpt"), write_meta_graph=False)
    if config:
        (folder / "bert_config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return folder


@pytest.fixture(scope="module")
def tf1(tmp_path_factory):
    return write_tf1(tmp_path_factory.mktemp("tf1") / "cased", arrays())


@pytest.fixture(scope="module")
def folder(tf1, tmp_path_factory):
    return convert(Conversion(source=tf1, out=tmp_path_factory.mktemp("out") / "model", pooling="pooler"))


def test_a_tf1_checkpoint_becomes_a_folder_with_its_pooler_as_dense(folder, tf1):
    encoder = load(folder)
    assert encoder.module.modes == ("cls",)
    assert encoder.max_tokens == 40
    ids, mask = np.array([[2, 5, 6, 3]]), np.ones((1, 4), np.int64)
    first = bert_forward.forward(read_bert(tf1), ids, mask)[:, 0]
    tensors = arrays()
    pooled = np.tanh(first @ tensors["bert/pooler/dense/kernel"] + tensors["bert/pooler/dense/bias"])
    np.testing.assert_allclose(encoder.forward(ids, mask), pooled / np.linalg.norm(pooled), atol=1e-5)
    lineage = read_lineage(folder)
    assert lineage["command"] == "convert"
    assert lineage["config"]["worst_cosine"] >= 0.99999


def test_a_vocabulary_of_another_size_than_the_table_is_refused_or_noted(tf1, tmp_path, capsys):
    vocabulary = tmp_path / "cased.txt"
    given = Conversion(source=tf1, out=tmp_path / "out", pooling="mean", vocab_file=vocabulary)
    vocabulary.write_text("\n".join([*PIECES, "one", "two"]) + "\n")
    rows = len(PIECES)
    with pytest.raises(UserError, match=f"{rows + 2} pieces, the table of .* {rows} rows: it is another model's vocab"):
        convert(given)
    assert not given.out.exists()
    vocabulary.write_text("\n".join(PIECES[:-1]))
    convert(given)
    assert f"{rows - 1} pieces, the table of" in capsys.readouterr().err


def test_its_peers_load_the_folder(folder):
    from sentence_transformers import SentenceTransformer

    texts = ["the end.", "a b c"]
    np.testing.assert_allclose(
        SentenceTransformer(str(folder), device="cpu").encode(texts), load(folder).encode(texts), atol=1e-5
    )


def test_a_folder_becomes_a_tf2_checkpoint_and_comes_back(folder, tmp_path):
    out = to_tf2(folder, tmp_path / "tf2")
    names = dict(tf.train.list_variables(str(out / "bert_model.ckpt")))
    kernel = "encoder/layer_with_weights-4/_attention_layer/_query_dense/kernel/.ATTRIBUTES/VARIABLE_VALUE"
    assert names[kernel] == [8, 2, 4]
    assert names["encoder/layer_with_weights-6/kernel/.ATTRIBUTES/VARIABLE_VALUE"] == [8, 8]
    again = convert(Conversion(source=out, out=tmp_path / "again", pooling="pooler"))
    texts = ["the end.", "a b c", ""]
    np.testing.assert_allclose(load(again).encode(texts), load(folder).encode(texts), atol=1e-5)


@pytest.mark.parametrize("lower", [True, False])
def test_letter_case_survives_the_way_into_a_checkpoint_and_back(folder, tmp_path, lower):
    cased = tmp_path / "cased"
    shutil.copytree(folder, cased)
    content = json.loads((cased / "tokenizer.json").read_text())
    content["normalizer"] |= {"lowercase": lower}
    (cased / "tokenizer.json").write_text(json.dumps(content))
    out = to_tf2(cased, tmp_path / "tf2")
    again = convert(Conversion(source=out, out=tmp_path / "again", pooling="pooler"))
    texts = ["The end.", "A b C"]
    assert load(again).tokenize(texts) == load(cased).tokenize(texts)


def test_heads_of_a_tf2_checkpoint_are_in_its_shapes(folder, tmp_path):
    out = to_tf2(folder, tmp_path / "tf2")
    (out / "bert_config.json").unlink()
    assert read_bert(out).config["num_attention_heads"] == 2


def test_a_pretrainers_checkpoint_keeps_its_head(tmp_path, folder):
    """The MLM head and a table that is stored under `masked_lm` alone, as Model Garden's pretrainer stores it."""
    from compact_labse.conversion.bert_write import write_tf2

    bert = read_bert(to_tf2(folder, tmp_path / "tf2"))
    rng = np.random.default_rng(2)
    shapes = {"dense.kernel": (8, 8), "dense.bias": 8, "norm.gamma": 8, "norm.beta": 8, "output_bias": len(PIECES)}
    head = {f"mlm.{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    bert.weights.update(head)
    write_tf2(bert, tmp_path / "pre" / "model.ckpt")
    out = convert(
        Conversion(source=tmp_path / "pre", out=tmp_path / "out", pooling="mean", vocab_file=folder / "vocab.txt")
    )
    from compact_labse.formats.saved_model.mlm import mlm_weights

    found = mlm_weights(out)
    np.testing.assert_array_equal(found["kernel"], head["mlm.dense.kernel"])
    np.testing.assert_array_equal(found["output_bias"], head["mlm.output_bias"])


def test_yaml_of_model_garden_is_read(folder, tmp_path):
    out = to_tf2(folder, tmp_path / "tf2")
    (out / "bert_config.json").unlink()
    (out / "params.yaml").write_text(
        "task: {model: {encoder: {type: bert, bert: {hidden_activation: relu, num_layers: 2}}}}\n"
    )
    assert read_bert(out).config["hidden_act"] == "relu"
    (out / "params.yaml").write_text("encoder:\n  type: albert\n  albert: {}\n")
    with pytest.raises(UserError, match="describes the encoder 'albert'; only BERT's"):
        read_bert(out)


def by_transformers(source, pooling, texts):
    """What `AutoModel` makes of the texts, one by one, pooled here."""
    import torch
    from transformers import AutoModel

    model, encoder = AutoModel.from_pretrained(source).eval(), TorchEncoder.open(source, pooling="cls")
    with torch.no_grad():
        found = [model(torch.tensor([ids])) for ids in encoder.tokenize(texts)]
    pooled = [one.pooler_output if pooling == "pooler" else one.last_hidden_state.mean(1) for one in found]
    return torch.nn.functional.normalize(torch.cat(pooled)).numpy()


def test_a_tf2_checkpoint_described_by_yaml_gives_the_vectors_of_its_source(folder, tmp_path):
    """Without bert_config.json; and another activation in the YAML is another model, which the vectors show."""
    out, texts = to_tf2(folder, tmp_path / "tf2"), ["the end.", "a b c", ""]
    (out / "bert_config.json").unlink()
    for activation, same in (("gelu", True), ("relu", False)):
        bert = f"{{num_layers: 2, num_attention_heads: 2, hidden_activation: {activation}}}"
        (out / "params.yaml").write_text(f"task: {{model: {{encoder: {{type: bert, bert: {bert}}}}}}}\n")
        new = convert(Conversion(source=out, out=tmp_path / activation, pooling="pooler", config=out / "params.yaml"))
        found = np.abs(load(new).encode(texts) - load(folder).encode(texts)).max()
        assert (found < 1e-5) == same, (activation, found)


def test_a_saved_model_encoder_gives_its_vectors(tiny, tmp_path):
    """Written as TF Hub defines it; run by TensorFlow, its first tokens are those of the folder that it becomes."""
    pytest.importorskip("tensorflow_text")
    pipeline = load_pipeline("export", "saved_model_export")
    pipeline.run(pipeline.SavedModelExport(model=str(tiny("labse")), types=("model",), out=tmp_path / "export"))
    source, texts = tmp_path / "export" / "saved_model" / "encoder", ["Guten Morgen", "The train leaves.", "a"]
    new = load(convert(Conversion(source=source, out=tmp_path / "new", pooling="cls", do_lower_case=False)))
    graph = tf.saved_model.load(str(source))
    for text, ids in zip(texts, new.tokenize(texts), strict=True):
        ones = tf.ones([1, len(ids)], tf.int32)
        found = graph(dict(zip(NAMES, (tf.constant([ids], tf.int32), ones, 0 * ones), strict=True)))
        first = found["sequence_output"].numpy()[:, 0]
        np.testing.assert_allclose(new.encode([text]), first / np.linalg.norm(first), atol=1e-5)
    assert new.tokenize(texts) == load(tiny("labse")).tokenize(texts)


def test_a_plain_transformers_folder_gets_its_modules(tiny, tmp_path):
    source = tmp_path / "plain"
    source.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (source / name).write_bytes((tiny("minilm") / name).read_bytes())
    texts = ["Guten Morgen", "the end.", ""]
    for pooling in ("mean", "pooler"):
        out = convert(Conversion(source=source, out=tmp_path / pooling, pooling=pooling))
        np.testing.assert_allclose(load(out).encode(texts), by_transformers(source, pooling, texts), atol=1e-5)
    assert (tmp_path / "pooler" / "2_Dense" / "model.safetensors").is_file()
    with pytest.raises(UserError, match="is a sentence-transformers folder already"):
        convert(Conversion(source=tmp_path / "mean", out=tmp_path / "x", pooling="mean"))


def test_a_wrong_conversion_gets_no_name(tf1, tmp_path, monkeypatch):
    """Biases of two layers exchanged: every shape fits, and the vectors are others."""
    from compact_labse.conversion import bert_names

    sound = bert_names.to_transformers

    def exchanged(weights):
        names = {"layer.0.up.bias": "layer.1.up.bias", "layer.1.up.bias": "layer.0.up.bias"}
        return sound({names.get(name, name): array for name, array in weights.items()})

    monkeypatch.setattr(bert_names, "to_transformers", exchanged)
    with pytest.raises(GateError, match=r"was not written: its vectors are at cosine 0\.\d+ to those of"):
        convert(Conversion(source=tf1, out=tmp_path / "out", pooling="cls"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.pop("bert/encoder/layer_1/output/dense/bias"),
            r"lacks 1 of the tensors .* 'layer\.1\.down\.bias'",
        ),
        (
            lambda t: t.update({"bert/encoder/layer_0/output/dense/bias": np.ones(3, np.float32)}),
            r"down\.bias is \[3\]",
        ),
        (lambda t: [t.pop(name) for name in list(t)], "holds no BERT that is known here"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_named(tmp_path, change, message):
    tensors = arrays()
    change(tensors)
    with pytest.raises(UserError, match=message):
        read_bert(write_tf1(tmp_path / "bad", tensors))


def test_other_mistakes_are_sentences(tf1, tmp_path, capsys):
    bare = write_tf1(tmp_path / "bare", arrays(), config=None)
    with pytest.raises(UserError, match="nothing says how many attention heads"):
        read_bert(bare)
    (bare / "bert_config.json").write_text(json.dumps(CONFIG | {"hidden_size": 9}))
    with pytest.raises(UserError, match="says hidden_size 9, but the checkpoint has 8"):
        read_bert(bare)
    with pytest.raises(UserError, match="holds no checkpoint; expected NAME.index"):
        read_bert(tmp_path)
    out = ["--out", str(tmp_path / "out")]
    for words, message in (
        ([str(tf1), *out], "does not say how to pool: --pooling cls, mean, max, pooler"),
        ([str(tmp_path / "none"), *out, "--pooling", "cls"], "there is no"),
        ([str(tf1), "--to-tf2", str(tmp_path / "x"), "--pooling", "cls"], "--to-tf2 takes everything from the folder"),
        ([str(tf1), *out, "--pooling", "pooler", "--copy-pooler-dense-to-encoder"], "has no pooler"),
    ):
        assert main(["convert", *words]) == 2
        assert message in capsys.readouterr().err


def test_only_bert_becomes_a_bert_checkpoint(tiny, tmp_path):
    with pytest.raises(UserError, match="is no BERT"):
        to_tf2(tiny("electra"), tmp_path / "out")
