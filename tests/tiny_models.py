"""Tiny random models of every architecture, in the folder layouts that sentence-transformers has written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEXT = [
    "The train to the coast leaves at a quarter past nine.",
    "Please restart the server after the update has finished.",
    "Die Bäckerei an der Ecke verkauft auch frischen Kaffee.",
    "Le musée sera fermé pour travaux jusqu'au printemps.",
    "Мы встретились на площади возле старого театра.",
    "Το λεωφορείο περνάει κάθε είκοσι λεπτά.",
    "वह हर सुबह पार्क में दौड़ने जाती है।",
    "المكتبة مفتوحة حتى الساعة الثامنة مساء.",
    "החנות נסגרת מוקדם ביום שישי.",
    "明天会下雨，所以我带了伞。",
    "駅前の新しい店でパンを買いました。",
    "회의는 오후 세 시에 시작합니다.",
    "ร้านอาหารนี้เปิดทุกวัน",
    "Water boils at 100 degrees, and 3.14 is close to pi.",
]
HIDDEN, FFN, POSITIONS = 16, 32, 48


def wordpiece() -> Tokenizer:
    """A cased WordPiece of about 500 pieces with [CLS] and [SEP]: every character and word of `TEXT`.

    Written down, not trained: the library's WordPiece trainer gives other pieces at every call.
    """
    characters = sorted({c for text in TEXT for c in text if not c.isspace()})
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*names, *characters, *(f"##{c}" for c in characters), *_words(), "##s", "##ing", "##er"]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.add_special_tokens(names)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    ends = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def unigram() -> Tokenizer:
    """A Unigram of about 350 pieces with XLM-R's special tokens: <s> 0, <pad> 1, </s> 2, <unk> 3, <mask> 4."""
    characters = sorted({c for text in TEXT for c in text if not c.isspace()})
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    scores = dict.fromkeys(names, 0.0) | dict.fromkeys(["▁", *characters], -9.0)
    scores |= {f"▁{word}": -8.0 - place / 100 for place, word in enumerate(_words())}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=names.index("<unk>")))
    tokenizer.add_special_tokens(names)
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    ends = [(name, names.index(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return tokenizer


def _words() -> list[str]:
    return sorted({word for text in TEXT for word in text.split() if word.isalpha()})


def write_json(path: Path, content: Any) -> None:
    """Write JSON, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


def change_json(path: Path, **changes: Any) -> None:
    """Change some keys of a JSON file; None removes a key."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    write_json(path, {key: value for key, value in content.items() if value is not None})


def bert(vocabulary: int) -> PreTrainedModel:
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(vocab_size=vocabulary, **_COMMON))


def electra(vocabulary: int) -> PreTrainedModel:
    from transformers import ElectraConfig, ElectraModel

    return ElectraModel(ElectraConfig(vocab_size=vocabulary, embedding_size=8, **_COMMON))


def distilbert(vocabulary: int) -> PreTrainedModel:
    from transformers import DistilBertConfig, DistilBertModel

    sizes = {"dim": HIDDEN, "hidden_dim": FFN, "n_layers": 2, "n_heads": 2, "max_position_embeddings": POSITIONS}
    return DistilBertModel(DistilBertConfig(vocab_size=vocabulary, initializer_range=0.2, **sizes))


def xlmr(vocabulary: int) -> PreTrainedModel:
    from transformers import XLMRobertaConfig, XLMRobertaModel

    ids = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    return XLMRobertaModel(XLMRobertaConfig(vocab_size=vocabulary, type_vocab_size=1, **ids, **_COMMON))


def mpnet(vocabulary: int) -> PreTrainedModel:
    from transformers import MPNetConfig, MPNetModel

    return MPNetModel(MPNetConfig(vocab_size=vocabulary, pad_token_id=1, **_COMMON))


_COMMON: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": FFN,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": POSITIONS,
    "initializer_range": 0.2,
}
_WORDPIECE_NAMES = {
    "unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"
}  # fmt: skip
_UNIGRAM_NAMES = {
    "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>",
    "bos_token": "<s>", "eos_token": "</s>",
}  # fmt: skip
ARCHITECTURES: dict[str, tuple[Callable[[int], PreTrainedModel], Callable[[], Tokenizer], dict[str, str], int]] = {
    "bert": (bert, wordpiece, _WORDPIECE_NAMES, 0),
    "electra": (electra, wordpiece, _WORDPIECE_NAMES, 0),
    "distilbert": (distilbert, wordpiece, _WORDPIECE_NAMES, 0),
    "xlmr": (xlmr, unigram, _UNIGRAM_NAMES, 2),
    "mpnet": (mpnet, unigram, _UNIGRAM_NAMES, 2),
}


def write_transformer(folder: Path, architecture: str) -> None:
    """A plain transformers folder: config, weights, tokenizer."""
    import torch
    from transformers import PreTrainedTokenizerFast

    make, make_tokenizer, names, offset = ARCHITECTURES[architecture]
    tokenizer = make_tokenizer()
    torch.manual_seed(7)
    make(tokenizer.get_vocab_size()).save_pretrained(folder)
    limit = POSITIONS - offset
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=limit, **names).save_pretrained(folder)


def write_pooling(folder: Path, mode: str, dim: int = HIDDEN) -> None:
    """A Pooling module in the layout of the first versions: one flag per mode."""
    flags = {
        "cls": "cls_token",
        "mean": "mean_tokens",
        "max": "max_tokens",
        "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    }
    config = {f"pooling_mode_{flag}": name == mode for name, flag in flags.items()}
    write_json(folder / "config.json", {"word_embedding_dimension": dim, **config})


def write_dense(folder: Path, in_dim: int, out_dim: int) -> None:
    """A Dense module with tanh and random weights."""
    import torch
    from safetensors.torch import save_file

    activation = "torch.nn.modules.activation.Tanh"
    write_json(
        folder / "config.json",
        {"in_features": in_dim, "out_features": out_dim, "bias": True, "activation_function": activation},
    )
    torch.manual_seed(8)
    weights = {"linear.weight": torch.randn(out_dim, in_dim), "linear.bias": torch.randn(out_dim)}
    save_file(weights, folder / "model.safetensors")


def write_modules(folder: Path, *kinds: str) -> None:
    """A `modules.json` with the class paths of versions 1 to 5; module 0 lies in the folder itself."""
    paths = [f"{place}_{kind}" if place else "" for place, kind in enumerate(kinds)]
    entries = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", entries)


def write_sentence_model(folder: Path, architecture: str, *, pooling: str = "mean", dense: int | None = None) -> Path:
    """A sentence-transformers folder: transformer, pooling, Dense of `dense` values if given, normalisation."""
    write_transformer(folder, architecture)
    kinds = ["Transformer", "Pooling", *(["Dense"] if dense else []), "Normalize"]
    write_modules(folder, *kinds)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write_pooling(folder / "1_Pooling", pooling)
    if dense:
        write_dense(folder / "2_Dense", HIDDEN, dense)
    return folder


def write_static(folder: Path, dim: int = HIDDEN) -> Path:
    """A StaticEmbedding folder with a Unigram tokenizer."""
    import torch
    from safetensors.torch import save_file

    tokenizer = unigram()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(9)
    save_file({"embedding.weight": torch.randn(tokenizer.get_vocab_size(), dim)}, folder / "model.safetensors")
    write_modules(folder, "StaticEmbedding", "Normalize")
    return folder


RECIPES: dict[str, Callable[[Path], Path]] = {
    "labse": lambda folder: write_sentence_model(folder, "bert", pooling="cls", dense=12),
    "minilm": lambda folder: write_sentence_model(folder, "bert"),
    "electra": lambda folder: write_sentence_model(folder, "electra"),
    "distilbert": lambda folder: write_sentence_model(folder, "distilbert", dense=12),
    "xlmr": lambda folder: write_sentence_model(folder, "xlmr"),
    "mpnet": lambda folder: write_sentence_model(folder, "mpnet", pooling="cls"),
    "static": write_static,
}
