"""An ONNX graph that takes a string: a WordPiece tokenizer of onnxruntime-extensions before an exported graph.

Only where it gives the very token ids of the model's own tokenizer on all 240 sentences of each language named, and on
the hard strings that can reach it (a graph's strings end at NUL, and hold no lone surrogates). With a cased vocabulary
of all characters it does in 14 of the sample's 19 languages; in ar, bn, hi, ja and zh it takes some punctuation for
letters. Words with known pieces and an unknown rest, and accents of uncased models, come out otherwise too. One string
per call.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from compact_labse import sample
from compact_labse.encoder import Encoder
from compact_labse.errors import GateError, Unsuitable, require
from compact_labse.formats.contract import INPUTS, OUTPUTS
from compact_labse.formats.gates.agreement import HARD, HARD_TEXTS, cosines
from compact_labse.formats.gates.expected import expected_texts
from compact_labse.onnx_encoder import OnnxEncoder
from compact_labse.tokens import Tokens, clean_text

TEXT, DOMAIN = "text", "ai.onnx.contrib"
SAME = 0.99999  # cosine
LISTED = 5  # differences that the refusal names


def string_in(path: Path, languages: Sequence[str]) -> Path:
    """Write `<name>_text.onnx`: input `text` `[1]`, the outputs of `path`, which stays as it is.

    `languages` of the embedded sample are what the tokenizer is tried on. Unsuitable if it is no WordPiece; GateError,
    with what differs, if ids or vectors are not those of `path`.
    """
    encoder = OnnxEncoder.open(path)
    extensions = require("onnxruntime_extensions", "onnx")
    node = _tokenizer(encoder.tokens)
    session = _session(_alone(node), extensions)
    differing = list(_differing(session, encoder, languages))
    if differing:
        listed = "; ".join(differing[:LISTED])
        raise GateError(f"the tokenizer in the graph gives other ids for {len(differing)} texts, among them {listed}")
    target = path.with_name(f"{path.stem}_text.onnx")
    onnx.save(_joined(node, onnx.load(path)), target)
    texts = [text for language, text in expected_texts() if language in (*languages, HARD)]
    vectors = [open_strings(target).run([OUTPUTS[1]], {TEXT: np.array([text], dtype=object)})[0][0] for text in texts]
    worst = float(np.min(cosines(encoder.encode(texts), np.array(vectors))))
    if not worst >= SAME:
        raise GateError(f"{target.name} was not written, its vectors are not those of {path.name}: cosine {worst:.6f}")
    return target


def _joined(node: onnx.NodeProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph behind its tokenizer."""
    axis = helper.make_tensor("text_axis", TensorProto.INT64, [1], [0])
    front = [node, *(helper.make_node("Unsqueeze", [f"{name}_T", "text_axis"], [name]) for name in INPUTS)]
    inner = list(model.graph.node)
    del model.graph.node[:], model.graph.input[:]
    model.graph.node.extend([*front, *inner])
    model.graph.input.append(helper.make_tensor_value_info(TEXT, TensorProto.STRING, [1]))
    model.graph.initializer.append(axis)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return model


def open_strings(path: Path) -> ort.InferenceSession:
    """A session of a file written by `string_in`; it needs onnxruntime-extensions."""
    return _session(onnx.load(path), require("onnxruntime_extensions", "onnx"))


def _tokenizer(tokens: Tokens) -> onnx.NodeProto:
    settings = json.loads(tokens.tokenizer.to_str())
    normalizer, kind = settings.get("normalizer") or {}, settings["model"]["type"]
    if (kind, normalizer.get("type"), tokens.special) != ("WordPiece", "BertNormalizer", True) or tokens.prefix:
        raise Unsuitable(f"a graph that takes strings needs BERT's WordPiece without a prompt, this is a {kind}")
    lower = bool(normalizer["lowercase"])
    accents = normalizer.get("strip_accents")
    pieces = sorted(tokens.tokenizer.get_vocab().items(), key=lambda piece: piece[1])
    attributes: dict[str, Any] = {
        "vocab_file": "\n".join(piece for piece, _ in pieces),
        "do_lower_case": int(lower),
        "strip_accents": int(lower if accents is None else accents),
        "tokenize_chinese_chars": int(normalizer.get("handle_chinese_chars", True)),
        "max_length": tokens.max_tokens or -1,
    }
    outputs = [f"{INPUTS[0]}_T", f"{INPUTS[2]}_T", f"{INPUTS[1]}_T"]  # ids, types, mask
    return helper.make_node("BertTokenizer", [TEXT], outputs, domain=DOMAIN, **attributes)


def _alone(node: onnx.NodeProto) -> onnx.ModelProto:
    text = helper.make_tensor_value_info(TEXT, TensorProto.STRING, [1])
    ids = helper.make_tensor_value_info(node.output[0], TensorProto.INT64, ["tokens"])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(helper.make_graph([node], "tokenizer", [text], [ids]), opset_imports=opsets, ir_version=8)


def _session(model: onnx.ModelProto, extensions: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.register_custom_ops_library(extensions.get_library_path())
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _differing(session: ort.InferenceSession, encoder: Encoder, languages: Sequence[str]) -> Iterator[str]:
    tried = {language: sample.sentences(language) for language in languages}
    groups = {**tried, HARD: [text for text in HARD_TEXTS if text == clean_text(text)]}
    for language, texts in groups.items():
        for text, wanted in zip(texts, encoder.tokenize(texts), strict=True):
            got = session.run(None, {TEXT: np.array([text], dtype=object)})[0].tolist()
            if got != wanted:
                first = next((n for n, pair in enumerate(zip(got, wanted, strict=False)) if pair[0] != pair[1]), -1)
                yield f"{text[:40]!r} ({language}{f', from token {first} on' if first >= 0 else ''})"
