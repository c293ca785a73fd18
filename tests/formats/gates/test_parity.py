"""Every gate, and a damaged export that fails it and no other that could stand in for it."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest

from compact_labse import load
from compact_labse.encoder import Encoder
from compact_labse.errors import GateError, UserError
from compact_labse.formats.gates import agreement
from compact_labse.formats.gates.parity import LIMITS, Limits, check

SENTENCES = {
    "en": [f"the train number {n} leaves at {n % 24}:{n % 60:02} from platform {n % 9}" for n in range(30)],
    "de": [f"der Zug Nummer {n} fährt um {n % 24} Uhr {n % 60:02} von Gleis {n % 9} ab" for n in range(30)],
    "th": [f"รถไฟขบวนที่ {n} ออกเวลา {n % 24} นาฬิกา จากชานชาลา {n % 9}" for n in range(30)],
}
STRICT = LIMITS["fp32"]


class Damaged(Encoder):
    """An encoder whose vectors a function changes: `damage(vectors_BD, ids_BT, mask_BT)`."""

    def __init__(self, sound, damage, tokens=None):
        self.sound, self.damage, self.tokens = sound, damage, tokens or sound.tokens
        self.name, self.dim, self.max_tokens = "damaged", sound.dim, sound.max_tokens

    def forward(self, ids_BT, mask_BT):
        found = self.damage(self.sound.forward(ids_BT, mask_BT).astype(np.float64), ids_BT, mask_BT)
        return found.astype(np.float32)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def source(tiny):
    return load(tiny("static"))


def gates(source, export, limits=STRICT):
    return {failure.gate: failure for failure in check(source, export, SENTENCES, limits).failures}


def test_an_undamaged_export_passes_every_gate(source):
    parity = check(source, Damaged(source, lambda v, ids, mask: v), SENTENCES, STRICT)
    assert parity.passed
    parity.require("model.onnx")
    figures = parity.report()["figures"]
    assert set(figures) == {"tokens", "unit_length", *STRICT.gates()}
    assert all(figure["value"] >= 0.99999 for figure in figures.values())
    assert set(parity.report()["languages"]) == {*SENTENCES, "hard"}


def test_worst_cosine_catches_one_sentence_that_is_off(source):
    victim = source.tokenize([SENTENCES["th"][7]])[0]

    def damage(vectors, ids, mask):
        hit = [
            row[: len(victim)].tolist() == victim and m.sum() == len(victim) for row, m in zip(ids, mask, strict=True)
        ]
        vectors[hit, 0] += 0.02
        return unit(vectors)

    found = gates(source, Damaged(source, damage))["worst_cosine"]
    assert found.language == "th"
    assert source.tokenize([found.sentence]) == [victim]
    assert found.limit == 0.99999


def test_language_cosine_catches_a_language_that_its_own_worst_sentence_does_not(source):
    """Each sentence may be at the limit of one, but a whole language may not."""
    thai = {tuple(source.tokenize([text])[0]) for text in SENTENCES["th"]}

    def damage(vectors, ids, mask):
        hit = [tuple(row[m.astype(bool)].tolist()) in thai for row, m in zip(ids, mask, strict=True)]
        vectors[hit, 0] += 0.1
        return unit(vectors)

    limits = Limits(worst_cosine=0.97, language_cosine=0.999, neighbours=0, language_neighbours=0)
    found = gates(source, Damaged(source, damage), limits)
    assert set(found) == {"language_cosine"}
    assert found["language_cosine"].language == "th"


def test_neighbours_catch_vectors_that_come_near_to_others(source):
    limits = Limits(worst_cosine=0, language_cosine=0, neighbours=0.999, language_neighbours=0.98)
    noise = np.random.default_rng(0).normal(size=(source.tokens.vocab_size, source.dim))
    damaged = Damaged(source, lambda v, ids, mask: unit(v + 0.4 * noise[(ids * mask).sum(1) % len(noise)]))
    found = gates(source, damaged, limits)
    assert set(found) == {"neighbours", "language_neighbours"}
    assert found["neighbours"].sentence in [text for group in SENTENCES.values() for text in group]
    assert found["neighbours"].value < 0.95


def test_a_neighbour_that_is_as_near_is_the_same_neighbour():
    source = np.array([[1, 0], [0.8, 0.6], [0.8, -0.6], [0, 1]])
    export = np.array([[1, 0], [0.8, 0.6], [0.8001, -0.5999], [0, 1]])
    assert agreement.same_neighbours(source, export).tolist() == [1, 1, 1, 1]
    turned = np.array([[1, 0], [0.6, 0.8], [0.8, -0.6], [0, 1]])
    assert agreement.same_neighbours(source, turned).tolist() == [1, 0, 1, 1]
    assert agreement.same_neighbours(source, turned, tie=0.3).tolist() == [1, 1, 1, 1]
    assert np.isnan(agreement.same_neighbours(source[:1], export[:1])).all()


def test_invariance_catches_vectors_that_depend_on_the_batch(source):
    limits = Limits(worst_cosine=0.3, language_cosine=0.3, neighbours=0, language_neighbours=0)

    def damage(vectors, ids, mask):
        vectors[:, 1] += 0.001 * (ids.shape[1] - mask.sum(1))  # what padding adds
        return unit(vectors)

    found = gates(source, Damaged(source, damage), limits)
    assert set(found) == {"invariance"}
    assert found["invariance"].limit == 0.9999


def test_tokens_catch_another_tokenizer(source, tiny):
    from compact_labse.tokens import Tokens

    cut = Damaged(source, lambda v, ids, mask: v, Tokens.from_folder(tiny("static"), 10, special=False))
    found = gates(source, cut)
    assert "tokens" in found
    assert found["tokens"].value == 0


def test_unit_length_catches_a_forgotten_normalisation(source):
    found = gates(source, Damaged(source, lambda v, ids, mask: v * 1.01))
    assert set(found) == {"unit_length"}


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_nan_and_zeros_fail(source, value):
    assert {"unit_length", "worst_cosine"} <= set(gates(source, Damaged(source, lambda v, ids, mask: v * value)))


def test_another_dimension_is_a_failure_that_names_both(source):
    class Short(Damaged):
        def forward(self, ids_BT, mask_BT):
            return super().forward(ids_BT, mask_BT)[:, :8]

    short = Short(source, lambda v, ids, mask: v)
    short.dim = 8
    with pytest.raises(GateError, match=r"m.onnx was not written, 1 gates failed: dimension is 8 .* the limit is 16"):
        check(source, short, SENTENCES, STRICT).require("m.onnx")


def test_all_failures_are_collected_and_each_names_sentence_value_and_limit(source):
    damaged = Damaged(source, lambda v, ids, mask: -1.5 * v)
    with pytest.raises(GateError) as error:
        check(source, damaged, SENTENCES, STRICT).require("model.onnx")
    text = str(error.value)
    assert re.search(r"unit_length is 0\.(5|49+)", text)
    assert "worst_cosine is -1 in" in text
    assert "language_cosine is -1 in" in text
    assert "the limit is 0.99999" in text


def test_strings_that_break_things_are_compared_too(source):
    empty = source.tokenize([""])[0]

    def damage(vectors, ids, mask):
        vectors[[row[m.astype(bool)].tolist() == empty for row, m in zip(ids, mask, strict=True)]] *= -1
        return vectors

    found = gates(source, Damaged(source, damage))
    assert (found["worst_cosine"].language, found["worst_cosine"].sentence) == ("hard", "")


def test_a_report_is_json_whatever_happened(source):
    parity = check(source, Damaged(source, lambda v, ids, mask: v * np.nan), SENTENCES, STRICT)
    text = json.dumps(parity.report()).encode("utf-8")
    assert json.loads(text)["passed"] is False


def test_no_sentences_is_an_error(source):
    with pytest.raises(UserError, match="at least one sentence"):
        check(source, source, {"en": []}, STRICT)


def test_gates_are_loosened_by_name_and_never_tightened():
    loose = STRICT.loosened({"worst_cosine": 0.9})
    assert asdict(loose) == {**asdict(STRICT), "worst_cosine": 0.9}
    with pytest.raises(UserError, match="unknown gate 'speed', expected one of worst_cosine, language_cosine"):
        STRICT.loosened({"speed": 0.1})
    with pytest.raises(UserError, match="would tighten it, not loosen it"):
        STRICT.loosened({"worst_cosine": 1.0})
    with pytest.raises(UserError, match="must lie between -1 and 1, got 7"):
        Limits(worst_cosine=7, language_cosine=1, neighbours=1, language_neighbours=1)
    with pytest.raises(UserError, match="unknown gate 'tie'"):
        STRICT.loosened({"tie": 0})


def test_the_limits_of_float32_are_those_of_the_design():
    assert STRICT == Limits(
        worst_cosine=0.99999, language_cosine=0.99999, neighbours=0.999, language_neighbours=0.999, invariance=0.9999
    )
    assert all(limits.invariance == 0.9999 for limits in LIMITS.values())
