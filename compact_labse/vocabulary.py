"""Vocabularies: pieces trained on the corpus, or the teacher's own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from compact_labse.errors import UserError
from compact_labse.unigram import with_whole_words

# Of decomposed text. Latin, Greek and Cyrillic only: other scripts write vowels with combining marks.
ACCENTS = "[\u0300-\u036f]"
MARKS = "[\u0591-\u05c7\u0640\u064b-\u0655\u0670]|(?<=[\u0370-\u03ff])[\u0300-\u0345]"

PAD, UNKNOWN, FIRST, LAST, MASK = SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """How text is cut into pieces.

    Args:
        kind: "unigram" (fits languages without spaces), "wordpiece", or "teacher" (the teacher's own tokenizer).
        size: Number of pieces, special tokens included.
        lowercase: Fold case, which saves pieces; the vectors then ignore case.
        strip_accents: Drop accents as well (harmful where they carry meaning: Hindi and Thai vowel signs are kept).
        strip_marks: Drop what writers mostly leave out: vowel points of Arabic and Hebrew, the hamza on its carrier,
            the tatweel, Greek accents.
        split_digits: Cut numbers into digits.
        split_punctuation: Cut punctuation from words.
        longest_piece: Characters of the longest Unigram piece.
        coverage: Share of the corpus's characters that get pieces; the rarest characters beyond it become unknown.
        texts: How many texts of the corpus are read to train it, languages sampled with `temperature`.
        temperature: 1 samples languages by their size, larger values more evenly.
    """

    kind: Literal["unigram", "wordpiece", "teacher"] = "unigram"
    size: int = 48_000
    lowercase: bool = True
    strip_accents: bool = False
    strip_marks: bool = True
    split_digits: bool = True
    split_punctuation: bool = True
    longest_piece: int = 16
    coverage: float = 0.9998
    texts: int = 1_000_000
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if self.kind not in ("unigram", "wordpiece", "teacher"):
            raise UserError(f"vocabulary.kind is {self.kind!r}; known: unigram, wordpiece, teacher")
        if self.size < 100:
            raise UserError(f"vocabulary.size must be at least 100, got {self.size}")
        if self.texts < 1 or self.longest_piece < 1:
            raise UserError("vocabulary.texts and vocabulary.longest_piece must be at least 1")
        if not self.temperature >= 1:
            raise UserError(f"vocabulary.temperature must be at least 1, got {self.temperature}")
        if not 0 < self.coverage <= 1:
            raise UserError(f"vocabulary.coverage is a share above 0 and up to 1, got {self.coverage}")


def train_vocabulary(texts: Iterable[str], config: VocabularyConfig) -> Tokenizer:
    """A tokenizer whose pieces are trained on `texts`; ids 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK].

    The special tokens are added only on demand, so one tokenizer serves static students and transformers. Raises
    UserError when the text cannot be cut into so few pieces, or none is there.
    """
    tokenizer, trainer = _wordpiece(config) if config.kind == "wordpiece" else _unigram(config)
    tokenizer.normalizer = _normalizer(config)
    # Unigram must give each character a piece: thousands of Han characters that occur once would fill the vocabulary.
    normalised = [tokenizer.normalizer.normalize_str(text) for text in texts]
    rare = rare_characters(normalised, config.coverage)
    common = [text.translate(rare) for text in normalised]
    try:
        tokenizer.train_from_iterator(common, trainer)
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"no vocabulary could be trained on this text: {error}{_remedy(common, config)}") from error
    if config.kind == "unigram":
        longest = config.longest_piece
        tokenizer = with_whole_words(tokenizer, common, config.size, longest=longest, special=len(SPECIALS))
        tokenizer = _rounded(tokenizer)
    if not any(piece.strip("▁ ") for piece in tokenizer.get_vocab() if piece not in SPECIALS):
        raise UserError("no vocabulary could be trained on this text: it has no characters")
    return with_special_tokens(_in_lasting_order(tokenizer))


def _remedy(texts: Iterable[str], config: VocabularyConfig) -> str:
    needed = len(set().union(*texts)) + len(SPECIALS)
    if needed <= config.size:
        return ""
    return (
        f". vocabulary.size is {config.size:,}, and its characters and special tokens need {needed:,} pieces: raise "
        f"vocabulary.size, or lower vocabulary.coverage ({config.coverage:g}), so that rarer characters become unknown"
    )


def rare_characters(texts: Iterable[str], coverage: float) -> dict[int, str]:
    """The rarest characters that are not needed to cover that share of the text, each mapped to a space."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    wanted, seen, rare = coverage * counts.total(), 0, {}
    for character, count in counts.most_common():
        if seen >= wanted:
            rare[ord(character)] = " "
        seen += count
    return rare


def bare(tokenizer: Tokenizer) -> Tokenizer:
    """A copy of a tokenizer without truncation and padding."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _in_lasting_order(tokenizer: Tokenizer) -> Tokenizer:
    """Unigram pieces of equal score come out of the library in another order each time; here they are sorted.

    A WordPiece trained twice may differ in its pieces, not only in their order.
    """
    made = json.loads(tokenizer.to_str())
    if made["model"]["type"] == "Unigram":
        special, pieces = made["model"]["vocab"][: len(SPECIALS)], made["model"]["vocab"][len(SPECIALS) :]
        made["model"]["vocab"] = special + sorted(pieces, key=lambda item: (-item[1], item[0]))
    return Tokenizer.from_str(json.dumps(made))


def with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with `[CLS] text [SEP]` as its template, used when special tokens are asked for."""
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIALS])
    ids = {token: tokenizer.token_to_id(token) for token in SPECIALS}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {LAST}",
        pair=f"{FIRST} $A {LAST} $B:1 {LAST}:1",
        special_tokens=[(FIRST, ids[FIRST]), (LAST, ids[LAST])],
    )
    return tokenizer


def piece_texts(tokenizer: Tokenizer) -> list[str]:
    """What each piece looks like in text, by id: markers of word starts and continuations become a space or nothing.

    A leading space says that the piece starts a word; special tokens are the empty string.
    """
    kind = json.loads(tokenizer.to_str())["model"]["type"]
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    texts = []
    for number in range(tokenizer.get_vocab_size(with_added_tokens=True)):
        piece = tokenizer.id_to_token(number) or ""
        texts.append("" if number in special else _piece_text(piece, kind))
    return texts


def _piece_text(piece: str, kind: str) -> str:
    if kind == "WordPiece":
        return piece[2:] if piece.startswith("##") else " " + piece
    return piece.replace("▁", " ").replace("Ġ", " ")


def _normalizer(config: VocabularyConfig) -> normalizers.Normalizer:
    steps: list[Any] = [normalizers.NFKC()]
    if config.lowercase:
        steps.append(normalizers.Lowercase())
    marks = [pattern for wanted, pattern in ((config.strip_accents, ACCENTS), (config.strip_marks, MARKS)) if wanted]
    if marks:
        steps += [normalizers.NFD(), normalizers.Replace(Regex("|".join(marks)), ""), normalizers.NFC()]
    steps.append(normalizers.Replace(Regex(r"\s+"), " "))
    return normalizers.Sequence(steps)


def _splits(config: VocabularyConfig) -> list[Any]:
    steps: list[Any] = []
    if config.split_punctuation:
        steps.append(pre_tokenizers.Punctuation("isolated"))
    if config.split_digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    return steps


def _unigram(config: VocabularyConfig) -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.Unigram())
    # Metaspace first: punctuation that is cut off later must not look like the start of a word.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), *_splits(config)])
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=config.size,
        special_tokens=list(SPECIALS),
        unk_token=UNKNOWN,
        max_piece_length=config.longest_piece,
        show_progress=False,
    )
    return tokenizer, trainer


def _rounded(tokenizer: Tokenizer) -> Tokenizer:
    """The same pieces with log-probabilities of three decimals: a third of `tokenizer.json` is digits beyond them."""
    content = json.loads(tokenizer.to_str())
    content["model"]["vocab"] = [[piece, round(score, 3)] for piece, score in content["model"]["vocab"]]
    return Tokenizer.from_str(json.dumps(content))


def _wordpiece(config: VocabularyConfig) -> tuple[Tokenizer, Any]:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), *_splits(config)])
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.size, special_tokens=list(SPECIALS), min_frequency=2, show_progress=False
    )
    return tokenizer, trainer
