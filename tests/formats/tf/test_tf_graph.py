import numpy as np
import pytest

from compact_labse import load
from compact_labse.errors import UserError
from compact_labse.heads import ACTIVATIONS, Dense, LayerNorm, Normalize
from compact_labse.pooling import POOLINGS
from compact_labse.sentence_model import SentenceModel
from compact_labse.tokens import pad

tf = pytest.importorskip("tensorflow", reason="needs the extra 'tensorflow'")
torch = pytest.importorskip("torch")

from compact_labse.formats.tf import bodies as tf_bodies  # noqa: E402
from compact_labse.formats.tf import graph as tf_graph  # noqa: E402
from compact_labse.formats.tf import layers as tf_layers  # noqa: E402
from compact_labse.formats.tflite.attention import InvariantBlock  # noqa: E402

TEXTS = ["The train leaves at nine.", "", "Die Bäckerei an der Ecke verkauft auch frischen Kaffee.", "明天", "x" * 300]


def both(module, ids, mask):
    """Token and sentence vectors by PyTorch and by TensorFlow."""
    with torch.inference_mode():
        theirs = module(torch.from_numpy(ids), torch.from_numpy(mask), torch.zeros(ids.shape, dtype=torch.long))
    ours = tf_graph.express(module)(*(tf.constant(x, tf.int32) for x in (ids, mask, 0 * ids)))
    return [x.numpy() for x in theirs], [x.numpy() for x in ours]


def assert_same(module, ids, mask, atol=2e-6):
    (their_tokens, theirs), (our_tokens, ours) = both(module, ids, mask)
    assert np.linalg.norm(theirs, axis=1) == pytest.approx(1, abs=1e-4)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=atol)
    real = mask.astype(bool)
    np.testing.assert_allclose(our_tokens[real], their_tokens[real], atol=5 * atol, rtol=1e-4)


@pytest.mark.parametrize("name", ["labse", "minilm", "electra", "distilbert", "xlmr", "mpnet", "static"])
def test_every_architecture_gives_the_vectors_of_its_source(tiny, name):
    encoder = load(tiny(name))
    ids = encoder.tokenize(TEXTS)
    for rows in (ids[:1], ids[1:2], ids):
        assert_same(encoder.module, *pad(rows, encoder.tokens.pad_id))


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_attention_for_integer_layers_gives_the_same_whatever_the_padding(tiny, name):
    encoder = load(tiny(name))
    ids, mask = pad(encoder.tokenize(TEXTS), encoder.tokens.pad_id)
    plain, invariant = (tf_graph.express(encoder.module, block=kind) for kind in (tf_layers.Block, InvariantBlock))
    feed = [tf.constant(x, tf.int32) for x in (ids, mask, 0 * ids)]
    assert {type(block) for block in invariant.body.blocks} == {InvariantBlock}
    np.testing.assert_allclose(plain(*feed)[1].numpy(), invariant(*feed)[1].numpy(), atol=2e-6)


@pytest.mark.parametrize("name", ["minilm", "mpnet"])
def test_every_layer_is_the_one_of_the_source(tiny, name):
    encoder = load(tiny(name))
    ids, mask = pad(encoder.tokenize(TEXTS), encoder.tokens.pad_id)
    transformer = encoder.module.body.transformer
    with torch.inference_mode():
        theirs = transformer(torch.from_numpy(ids), torch.from_numpy(mask), output_hidden_states=True).hidden_states[1:]
    ours = tf_graph.express(encoder.module).layers(*(tf.constant(x, tf.int32) for x in (ids, mask, 0 * ids)))
    assert len(ours) == len(theirs) == 2
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy()[mask == 1], b.numpy()[mask == 1], atol=1e-5)


def test_types_and_padding_inside_a_text_count_as_in_the_source(tiny):
    module = load(tiny("minilm")).module
    ids, mask = torch.arange(1, 9).reshape(2, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    types = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 0]])
    ours = tf_graph.express(module)(*(tf.constant(x.numpy(), tf.int32) for x in (ids, mask, types)))[1]
    with torch.inference_mode():
        np.testing.assert_allclose(ours.numpy(), module(ids, mask, types)[1].numpy(), atol=1e-6)
    module = load(tiny("xlmr")).module
    ids = np.array([[0, 9, 1, 12, 2], [0, 7, 2, 0, 0]])  # a text that holds <pad>, and padding with another id
    assert_same(module, ids, np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]))


@pytest.mark.parametrize("modes", [*((mode,) for mode in POOLINGS), ("cls", "max"), tuple(POOLINGS)])
def test_every_pooling_gives_the_vectors_of_its_source(tiny, modes):
    encoder = load(tiny("minilm"))
    assert_same(SentenceModel(encoder.module.body, modes).eval(), *pad(encoder.tokenize(TEXTS), 0))


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("residual", [False, True])
def test_every_head_gives_the_vectors_of_its_source(tiny, activation, residual):
    torch.manual_seed(0)
    body = load(tiny("static")).module.body
    heads = (Dense(16, 16, activation=activation, residual=residual), LayerNorm(16), torch.nn.Identity())
    last = (Dense(16, 5, activation=activation, residual=residual, bias=False), Normalize())
    model = SentenceModel(body, ("mean",), token_heads=heads, sentence_heads=last).eval()
    assert_same(model, np.array([[3, 5, 9], [4, 2, 0]]), np.array([[1, 1, 1], [1, 1, 0]]))


def test_a_zero_vector_stays_zero():
    assert tf_graph.unit(tf.zeros((1, 3))).numpy().tolist() == [[0, 0, 0]]


def test_training_drops_and_every_weight_has_a_gradient(tiny):
    encoder = tf_graph.express(load(tiny("labse")).module)
    ids = tf.constant([[2, 7, 8, 3], [2, 9, 3, 0]])
    mask = tf.constant([[1, 1, 1, 1], [1, 1, 1, 0]])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(ids, mask, 0 * ids, training=True)[1] ** 3)
    gradients = tape.gradient(loss, encoder.trainable_variables)
    assert len(encoder.trainable_variables) == 3 + 2 + 2 * 16 + 2
    assert all(gradient is not None for gradient in gradients)
    first, second = (encoder(ids, mask, 0 * ids, training=True)[1].numpy() for _ in range(2))
    assert not np.allclose(first, second)
    same, again = (encoder(ids, mask, 0 * ids)[1].numpy() for _ in range(2))
    assert np.array_equal(same, again)


def test_what_has_no_twin_is_named(tiny):
    with pytest.raises(UserError, match="architecture 'deberta' has no TensorFlow twin here, expected one of bert"):
        tf_bodies._family("deberta")
    with pytest.raises(UserError, match="activation 'quick' has no TensorFlow twin here"):
        tf_layers.activation_of("quick")
    model = SentenceModel(load(tiny("static")).module.body, sentence_heads=(torch.nn.ReLU(),))
    with pytest.raises(UserError, match="head 'ReLU' has no TensorFlow twin here"):
        tf_graph.express(model)
