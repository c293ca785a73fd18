"""What MediaPipe's TextEmbedder reads in a TFLite file: which tensor is which, a BertTokenizer and its vocabulary.

MediaPipe tokenizes by itself: it lowers ASCII letters and knows WordPiece alone, so only uncased WordPiece models fit.
The metadata is a flatbuffer of the schema `ModelMetadata`; field numbers below are that schema's.
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from compact_labse.errors import Unsuitable
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.tflite.file import with_metadata

if TYPE_CHECKING:
    from compact_labse.tokens import Tokens

NAME, IDENTIFIER, PARSER = "TFLITE_METADATA", b"M001", "1.1.0"
VOCABULARY = "vocab.txt"
TENSORS = dict(zip(INPUTS, ("ids", "mask", "segment_ids"), strict=True))  # the names that MediaPipe looks for
BERT_TOKENIZER, VOCABULARY_FILE = 4, 5  # of ProcessUnitOptions and AssociatedFileType
LENGTH = 128  # tokens: what every call computes, however short the text


def vocabulary_of(tokens: Tokens) -> bytes:
    """The `vocab.txt` of a tokenizer; Unsuitable if MediaPipe's tokenizer would give other ids."""
    settings = json.loads(tokens.tokenizer.to_str())
    model, normalizer = settings["model"], settings.get("normalizer") or {}
    if model["type"] != "WordPiece":
        raise Unsuitable(f"MediaPipe reads WordPiece vocabularies, and this model has a {model['type']} tokenizer")
    if not normalizer.get("lowercase"):
        raise Unsuitable("MediaPipe turns all text to lower case, and this model's vocabulary is cased")
    if tokens.prefix:
        raise Unsuitable(f"MediaPipe puts no prompt before a text, and this model was made for {tokens.prefix!r}")
    pieces = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if [model["vocab"][piece] for piece in pieces] != list(range(len(pieces))):
        raise Unsuitable("MediaPipe numbers a vocabulary by its lines, and this model's has gaps")
    return "".join(f"{piece}\n" for piece in pieces).encode()


def with_tokenizer(content: bytes, vocabulary: bytes) -> bytes:
    """A model of inputs `[1, tokens]` with MediaPipe's metadata inside and the vocabulary as a zip file at its end."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    tensors = [graph.Tensors(graph.Inputs(number)).Name().decode() for number in range(graph.InputsLength())]
    names = [next(short for name, short in TENSORS.items() if name in tensor) for tensor in tensors]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr(zipfile.ZipInfo(VOCABULARY), vocabulary)
    return with_metadata(content, {NAME: _metadata(names)}) + archive.getvalue()


def _metadata(inputs: list[str]) -> bytes:
    """ModelMetadata with the names of inputs, in the graph's order, and a BertTokenizer for them."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    text = builder.CreateString
    file = _table(builder, 5, {0: text(VOCABULARY)}, {2: VOCABULARY_FILE})
    options = _table(builder, 1, {0: _vector(builder, [file])})
    unit = _table(builder, 2, {1: options}, {0: BERT_TOKENIZER})
    named = [_table(builder, 7, {0: text(name)}) for name in inputs]
    result = _table(builder, 7, {0: text(OUTPUTS[1])})
    vectors = {2: _vector(builder, named), 3: _vector(builder, [result]), 5: _vector(builder, [unit])}
    graph = _table(builder, 10, vectors)
    fields = {0: text("compact-labse sentence encoder"), 3: _vector(builder, [graph]), 7: text(PARSER)}
    builder.Finish(_table(builder, 8, fields), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, slots: int, offsets: dict[int, int], bytes_: dict[int, int] | None = None) -> int:
    builder.StartObject(slots)
    for slot, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, value in (bytes_ or {}).items():
        builder.PrependUint8Slot(slot, value, 0)
    return builder.EndObject()


def _vector(builder: Any, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
