"""One SavedModel after the other: make it, hold it to its gates, and say what it is.

Encoders are judged by their vectors, preprocessing by its token ids, serving by both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from compact_labse.errors import GateError, UserError
from compact_labse.formats.export_folder import remove
from compact_labse.formats.gates.agreement import Reference, cosines
from compact_labse.formats.gates.parity import LIMITS, Limits, judge
from compact_labse.formats.saved_model import encoder as saved_model
from compact_labse.formats.saved_model import mlm as saved_model_mlm
from compact_labse.formats.saved_model import preprocess as saved_model_text
from compact_labse.formats.saved_model import serving as saved_model_serving
from compact_labse.formats.tf import graph as tf_graph
from compact_labse.formats.tf.tokenize import write_vocabulary
from compact_labse.progress import say
from compact_labse.saved_model_encoder import SavedModelEncoder, load_graph
from compact_labse.tokens import clean_text
from compact_labse.torch_encoder import TorchEncoder
from compact_labse.weights import dense_pooler

FOLDERS = {
    "model": "encoder",
    "model_with_mlm": "encoder_mlm",
    "preprocessing": "preprocess",
    "serving": "serving",
}
SAME_IDS = 0.99  # share of texts; Unigrams may cut a word in another of several ways that are equally probable
LISTED = 20  # texts with other ids that parity.json lists
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to make SavedModels; the names are those of the published tool where it has them."""

    pooler: str = "sentence"
    normalize: bool = True
    do_lower_case: bool | None = None
    default_seq_length: int = saved_model_text.DEFAULT_LENGTH


@dataclass(frozen=True, kw_only=True)
class Job:
    """What all SavedModels of one export share: the source, the settings, the texts by language, the loosened gates."""

    source: TorchEncoder
    settings: Settings
    test: Mapping[str, list[str]]
    loosened: Mapping[str, float]

    @cached_property
    def tested(self) -> Reference:
        return Reference.of(self.source, self.test)

    @cached_property
    def body(self) -> saved_model.Body:
        assert self.source.source is not None
        dense = dense_pooler(self.source.source) if self.settings.pooler == "dense" else None
        encoder = tf_graph.express(self.source.module)
        return saved_model.Body(
            encoder, normalize=self.settings.normalize, pooler=self.settings.pooler, dense_weights=dense
        )

    @property
    def limits(self) -> Limits:
        return LIMITS["fp32"].loosened({gate: value for gate, value in self.loosened.items() if gate != "tokens"})


def write(job: Job, folder: Path, kind: str) -> dict[str, Any]:
    """Write one SavedModel into `folder` and give its entry for `parity.json`; GateError if it is not its source."""
    name, started = FOLDERS[kind], time.monotonic()
    remove(folder, name)
    with tempfile.TemporaryDirectory() as place:
        entry = WRITERS[kind](job, folder / name, Path(place))
    size = sum(file.stat().st_size for file in (folder / name).rglob("*") if file.is_file())
    say(f"{name}: {size / 1e6:.1f} MB, {time.monotonic() - started:.0f} s: {_summary(entry)}")
    return {"format": "fp32", "dtype": "fp32", "kind": kind, **entry}


def _encoder(job: Job, path: Path, place: Path, mlm: bool = False) -> dict[str, Any]:
    root = saved_model.encoder_root(job.body)
    entry: dict[str, Any] = {}
    if mlm:
        assert job.source.source is not None
        weights = saved_model_mlm.mlm_weights(job.source.source)
        root.mlm = saved_model_mlm.mlm_root(job.body, saved_model_mlm.MaskedLM(job.body, weights))
        entry["mlm_head"] = "of the source" if weights else "untrained"
        say(f"the head of the masked language model is {entry['mlm_head']}")
    vocabulary = _vocabulary(job, place)
    if vocabulary is not None:
        saved_model_text.describe(root, vocabulary, _lower_case(job))
    facts = _facts(job)
    saved_model.save(root, path, saved_model.ids_signature(job.body), facts)
    return {**entry, **_judged(job, path), "recipe": facts.recipe, "source": facts.source}


def _mlm(job: Job, path: Path, place: Path) -> dict[str, Any]:
    return _encoder(job, path, place, mlm=True)


def _preprocessing(job: Job, path: Path, place: Path) -> dict[str, Any]:
    vocabulary = write_vocabulary(job.source.tokens.tokenizer, place)
    length = min(job.settings.default_seq_length, job.source.max_tokens or job.settings.default_seq_length)
    root = saved_model_text.Preprocess(job.source.tokens, vocabulary, length)
    facts = _facts(job)
    saved_model.save(root, path, None, facts)
    loaded, limit = load_graph(path), job.source.max_tokens or 4096
    _, entry = _same_ids(job, lambda texts: _rows(loaded(texts, seq_length=limit)))
    named = {"recipe": facts.recipe, "source": facts.source, "default_seq_length": length}
    return {**named, "passed": True, "vectors": False, **entry}


def _serving(job: Job, path: Path, place: Path) -> dict[str, Any]:
    vocabulary = write_vocabulary(job.source.tokens.tokenizer, place)
    root = saved_model_serving.Serving(job.body, job.source.tokens, vocabulary)
    facts = _facts(job)
    saved_model.save(root, path, saved_model_serving.signatures(root), facts)
    same, entry = _same_ids(job, lambda texts: _rows(root._inputs(texts)))
    entry |= _judged(job, path)
    vectors_ND = _strings(load_graph(path), job.tested.texts)
    worst = float(np.nanmin(cosines(job.tested.vectors_ND, vectors_ND)[same], initial=1.0))
    if not worst >= job.limits.worst_cosine:
        raise GateError(f"{path.name} was not written: strings of the same ids give vectors at cosine {worst:.7f}")
    entry["strings_worst_cosine"] = round(worst, 7)
    return {"recipe": facts.recipe, "source": facts.source, **entry}


WRITERS: dict[str, Callable[[Job, Path, Path], dict[str, Any]]] = {
    "model": _encoder,
    "model_with_mlm": _mlm,
    "preprocessing": _preprocessing,
    "serving": _serving,
}


def _judged(job: Job, path: Path) -> dict[str, Any]:
    parity = judge(job.tested, SavedModelEncoder.open(path), job.limits)
    parity.require(path.name)
    return {"batch_invariant": True, **parity.report()}


def _same_ids(job: Job, ids_of: Callable[[tf.Tensor], list[list[int]]]) -> tuple[np.ndarray, dict[str, Any]]:
    """Whether each text gets the reference tokenizer's ids, and what `parity.json` says of it; GateError if few do."""
    reference = job.tested
    texts = [clean_text(text).encode() for text in reference.texts]
    found = [row for start in range(0, len(texts), BATCH) for row in ids_of(tf.constant(texts[start : start + BATCH]))]
    same = np.array([a == b for a, b in zip(reference.ids, found, strict=True)])
    share, least = float(same.mean()), job.loosened.get("tokens", SAME_IDS)
    other = [text for text, equal in zip(reference.texts, same, strict=True) if not equal]
    if share < least:
        raise GateError(
            f"the preprocessing was not written: {len(other)} of {len(same)} texts get other token ids than the "
            f"tokenizer gives ({share:.4f} are equal, the limit is {least}), {other[0][:80]!r} for one"
        )
    sentences = f"{len(same)} texts: the test part of the sample in {len(job.test)} languages, and strings that break"
    figures = {"texts": len(same), "same": int(same.sum()), "share": round(share, 6), "limit": least}
    return same, {"token_ids": {**figures, "sentences": sentences, "other": [text[:200] for text in other[:LISTED]]}}


def _rows(inputs: Mapping[str, tf.Tensor]) -> list[list[int]]:
    """The ids of real tokens, row by row."""
    ids_BT, mask_BT = inputs["input_word_ids"].numpy(), inputs["input_mask"].numpy()
    return [row[: int(mask.sum())].tolist() for row, mask in zip(ids_BT, mask_BT, strict=True)]


def _strings(loaded: Any, texts: list[str]) -> np.ndarray:
    signature = loaded.signatures["serving_default"]
    parts = [
        signature(text=tf.constant([clean_text(text).encode() for text in texts[start : start + BATCH]]))
        for start in range(0, len(texts), BATCH)
    ]
    return np.concatenate([part[saved_model_serving.EMBEDDING].numpy() for part in parts])


def _vocabulary(job: Job, place: Path) -> Path | None:
    """The tokenizer's file for the root's attributes; None, and said so, where TensorFlow has no such tokenizer."""
    try:
        return write_vocabulary(job.source.tokens.tokenizer, place)
    except UserError as error:
        say(f"without vocab_file and sp_model_file: {error}")
        return None


def _lower_case(job: Job) -> bool:
    wanted = job.settings.do_lower_case
    return saved_model_text.lower_cases(job.source.tokens) if wanted is None else wanted


def _facts(job: Job) -> Any:
    recipe = f"pooler {job.settings.pooler}"
    return saved_model.facts_of(job.source, recipe, list(job.test), normalized=job.settings.normalize)


def _summary(entry: Mapping[str, Any]) -> str:
    figures = [f"{gate.replace('_', ' ')} {found['value']}" for gate, found in entry.get("figures", {}).items()]
    ids = entry.get("token_ids")
    counted = [f"ids of {ids['same']} of {ids['texts']} texts equal"] if ids else []
    return ", ".join([*counted, *figures])
