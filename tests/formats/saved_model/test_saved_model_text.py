"""Strings to ids inside TensorFlow: the reference tokenizer's ids, or a refusal by name; packing as TF Hub does it."""

import json

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.implementations import BertWordPieceTokenizer

tf = pytest.importorskip("tensorflow", reason="SavedModels need the extra 'tensorflow'")
pytest.importorskip("tensorflow_text", reason="SavedModels need the extra 'tensorflow'")

from compact_labse import load, sample  # noqa: E402
from compact_labse.errors import GateError, UserError  # noqa: E402
from compact_labse.formats.gates.agreement import HARD_TEXTS  # noqa: E402
from compact_labse.formats.saved_model.preprocess import BertPackInputs, Preprocess, SpecialTokens, pack  # noqa: E402
from compact_labse.formats.tf import text_classes  # noqa: E402
from compact_labse.formats.tf.tokenize import Specials, TextTokenizer, write_vocabulary  # noqa: E402
from compact_labse.pipelines import load_pipeline  # noqa: E402
from compact_labse.tokens import Tokens, clean_text  # noqa: E402
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary  # noqa: E402

HARDER = (
    "a [MASK] b[SEP]c <mask> <s>",
    "ΟΔΥΣΣΕΥΣ İstanbul ﬃ é́ x\u200by \u00ad z",
    "ά Ἀρχή ۱۲۳ كِتَاب שָׁלוֹם",
    "x" * 100,
    "x" * 101,
    "é" * 101,
    "\u3000全角\u2028a\u0085b\x0bc\ufffdd",
    "tail of spaces   ",
)
TEXTS = [*HARD_TEXTS, *HARDER, *(sample.sentences(language, "test")[0] for language in sample.LANGUAGES)]


def rows(tokenizer, texts):
    found = tokenizer(tf.constant([clean_text(text).encode() for text in texts]))
    return (found.merge_dims(1, 2) if found.ragged_rank > 1 else found).to_list()


def check(tokenizer, folder, texts=TEXTS, prefix=""):
    """The texts whose ids differ from the reference tokenizer's."""
    tokens = Tokens(tokenizer, special=False, prefix=prefix)
    ours = rows(TextTokenizer(tokens, write_vocabulary(tokenizer, folder)), texts)
    return [text for text, a, b in zip(texts, tokens.ids(texts), ours, strict=True) if a != b]


def wordpiece(**settings):
    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEISTUéάαρχήσςοδυ道路", "the", "full", "width", "same", "again"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters), *".,-€[]<>/'"]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    found = BertWordPieceTokenizer(vocabulary, **settings)._tokenizer
    found.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    return found


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_gives_the_tokenizers_ids(tmp_path, lowercase):
    assert check(wordpiece(lowercase=lowercase), tmp_path, prefix="query: the ") == []


def test_trained_unigrams_give_the_tokenizers_ids(tmp_path):
    texts = [text for group in sample.parallel("train").values() for text in group[:40]]
    tokenizer = train_vocabulary(texts, VocabularyConfig(size=3000))
    differ = check(tokenizer, tmp_path)
    assert len(differ) <= 1, differ  # words that can be cut in several equally probable ways


def test_sentencepieces_own_normaliser_goes_into_the_model(tmp_path):
    """XLM-R's tokenizers carry a precompiled map, which SentencePiece itself runs."""
    sentencepiece = pytest.importorskip("sentencepiece")
    from sentencepiece import sentencepiece_model_pb2 as sp

    (tmp_path / "text").write_text("\n".join(sample.sentences("en") + sample.sentences("de")), "utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "m"), vocab_size=400, minloglevel=2
    )
    trained = sp.ModelProto.FromString((tmp_path / "m.model").read_bytes())
    vocabulary = [(piece.piece, piece.score) for piece in trained.pieces]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    charsmap = normalizers.Precompiled(trained.normalizer_spec.precompiled_charsmap)
    tokenizer.normalizer = normalizers.Sequence([charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
    texts = [*sample.sentences("de", "test"), "ｆｕｌｌ ｗｉｄｔｈ ﬁne", "a <s> b", " a  b\u3000\u3000c ", "the end  "]
    for splits in ([pre_tokenizers.Metaspace()], [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]):
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
        assert check(tokenizer, tmp_path, texts) == []


def test_what_tensorflow_cannot_do_exactly_is_refused_by_name(tmp_path, tiny):
    tokens = Tokens.from_folder(tiny("labse"))
    tokens.tokenizer.normalizer = normalizers.Nmt()
    with pytest.raises(UserError, match="the tokenizer's normaliser Nmt has no exact counterpart"):
        TextTokenizer(tokens, write_vocabulary(tokens.tokenizer, tmp_path))
    tokens.tokenizer.normalizer = normalizers.Replace(Regex("(?!a)b"), "")
    with pytest.raises(UserError, match="Replace of"):
        TextTokenizer(tokens, write_vocabulary(tokens.tokenizer, tmp_path))
    tokens = Tokens.from_folder(tiny("labse"))
    tokens.tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    with pytest.raises(UserError, match="pre-tokenizer ByteLevel has no exact counterpart"):
        TextTokenizer(tokens, write_vocabulary(tokens.tokenizer, tmp_path))
    with pytest.raises(UserError, match="the tokenizer is a BPE"):
        write_vocabulary(Tokenizer(models.BPE()), tmp_path)


def test_classes_are_asked_of_the_tokenizer():
    kept = text_classes.isolated(pre_tokenizers.BertPreTokenizer())
    assert "\\x{21}-\\x{2F}" in kept
    assert text_classes.re2_class("acb") == "[\\x{61}-\\x{63}]"
    assert text_classes.re2_class("") == ""
    with pytest.raises(UserError, match="looks at more than single characters"):
        text_classes.changed(normalizers.Replace("|", ""), lambda one, result: result == "")


SPECIALS = Specials(before=(2,), after=(3,), pad=0, stand_in=1, mask=4, size=50)
LONG, SHORT = list(range(10, 20)), [30, 31]


def packed(segments, length):
    segments = [tf.ragged.constant(segment, ragged_rank=1, dtype=tf.int32) for segment in segments]
    return {name: array.numpy().tolist() for name, array in pack(segments, length, SPECIALS).items()}


def test_a_text_is_cut_and_padded_between_its_special_tokens():
    found = packed([[LONG, SHORT, []]], 6)
    assert found["input_word_ids"] == [[2, 10, 11, 12, 13, 3], [2, 30, 31, 3, 0, 0], [2, 3, 0, 0, 0, 0]]
    assert found["input_mask"] == [[1] * 6, [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]]
    assert found["input_type_ids"] == [[0] * 6] * 3


@pytest.mark.parametrize(
    ("first", "second", "length"), [(LONG, LONG, 10), (LONG, SHORT, 10), (SHORT, LONG, 9), (SHORT, SHORT, 12)]
)
def test_two_texts_share_the_room_as_in_tensorflow_text(first, second, length):
    import tensorflow_text as tf_text

    ids = packed([[first], [second]], length)["input_word_ids"][0]
    trimmed = tf_text.RoundRobinTrimmer(length - 3).trim([tf.ragged.constant([first]), tf.ragged.constant([second])])
    a, b = (segment.to_list()[0] for segment in trimmed)
    expected = [2, *a, 3, *b, 3]
    assert ids == expected + [0] * (length - len(expected))


def test_models_without_special_tokens_take_texts_bare():
    bare = Specials(before=(), after=(), pad=0, stand_in=1, mask=None, size=9)
    found = pack([tf.ragged.constant([[5, 6], []], dtype=tf.int32)], 3, bare)
    assert found["input_word_ids"].numpy().tolist() == [[5, 6, 0], [1, 0, 0]]
    assert found["input_mask"].numpy().tolist() == [[1, 1, 0], [1, 0, 0]]
    assert set(SpecialTokens(bare)()) == {"vocab_size", "padding_id"}


def test_ragged_ids_of_words_and_of_pieces_can_be_packed(tmp_path):
    tf.saved_model.save(BertPackInputs(SPECIALS, 8), str(tmp_path / "pack"))
    loaded = tf.saved_model.load(str(tmp_path / "pack"))
    words = tf.ragged.constant([[[7], [8, 9]]], dtype=tf.int32)
    for segment in (words, words.merge_dims(1, 2)):
        assert loaded([segment])["input_word_ids"].numpy().tolist() == [[2, 7, 8, 9, 3, 0, 0, 0]]
        assert loaded([segment, segment], seq_length=tf.constant(9))["input_type_ids"].numpy()[0].sum() == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["labse", "xlmr", "static"])
def test_preprocessing_and_serving_of_a_model(tiny, tmp_path, name):
    pipeline = load_pipeline("export", "saved_model_export")
    config = {"types": ("model", "preprocessing", "serving"), "out": tmp_path / "out", "default_seq_length": 24}
    folder = pipeline.run(pipeline.SavedModelExport(model=str(tiny(name)), **config))
    source, texts = load(tiny(name)), ["The train to the coast", "Guten Morgen", ""]
    strings = tf.constant(texts)
    preprocess = tf.saved_model.load(str(folder / "preprocess"))
    encoder = tf.saved_model.load(str(folder / "encoder"))
    serving = tf.saved_model.load(str(folder / "serving"))
    inputs = preprocess(strings)
    assert inputs["input_word_ids"].shape == (3, 24)
    assert preprocess(strings, seq_length=9)["input_mask"].shape == (3, 9)
    expected = source.encode(texts)
    np.testing.assert_allclose(encoder(inputs)["default"], expected, atol=1e-5)
    np.testing.assert_allclose(serving(strings), expected, atol=1e-5)
    found = serving.signatures["serving_default"](text=strings)
    np.testing.assert_allclose(found["sentence_embedding"], expected, atol=1e-5)
    found = serving.signatures["ids"](**inputs)
    np.testing.assert_allclose(found["sentence_embedding"], expected, atol=1e-5)
    named = preprocess.tokenize.get_special_tokens_dict()
    assert int(named["vocab_size"]) == source.tokens.vocab_size
    asset = preprocess.vocab_file if name == "labse" else preprocess.sp_model_file
    assert asset.asset_path.numpy().decode().startswith(str(folder))
    assert bool(preprocess.do_lower_case.numpy()) is False
    report = json.loads((folder / "parity.json").read_text())["artifacts"]
    ids = report["preprocess"]["token_ids"]
    assert ids["texts"] == 19 * 40 + len(HARD_TEXTS)
    assert ids["share"] >= 0.99
    assert len(ids["other"]) == ids["texts"] - ids["same"]
    assert report["serving"]["strings_worst_cosine"] >= 0.99999


@pytest.mark.slow
def test_a_tokenizer_that_differs_gets_no_name(tiny_copy, monkeypatch):
    from compact_labse.formats.tf import normalize as tf_normalize

    folder = tiny_copy("labse")
    monkeypatch.setattr(tf_normalize, "_bert_steps", lambda setting: [tf_normalize.lower])
    tf_normalize._cached_steps.cache_clear()
    pipeline = load_pipeline("export", "saved_model_export")
    try:
        with pytest.raises(GateError, match=r"of 772 texts get other token ids than the tokenizer gives"):
            pipeline.run(pipeline.SavedModelExport(model=str(folder), types=("preprocessing",)))
        assert not (folder / "saved_model").exists()
    finally:
        tf_normalize._cached_steps.cache_clear()


def test_the_root_says_what_it_was_made_of(tiny, tmp_path):
    tokens = Tokens.from_folder(tiny("labse"))
    root = Preprocess(tokens, write_vocabulary(tokens.tokenizer, tmp_path))
    assert set(root.tokenize.get_special_tokens_dict()) == {
        "vocab_size",
        "padding_id",
        "start_of_sequence_id",
        "end_of_segment_id",
        "mask_id",
    }
    assert (tmp_path / "vocab.txt").read_text("utf-8").splitlines()[2] == "[CLS]"
