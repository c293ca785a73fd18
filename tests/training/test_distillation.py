"""Distillation as a task: objectives on a batch, shares of languages and files, held-out retrieval."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import torch.nn.functional as F

from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig
from compact_labse.pairs import sampled_texts, write_tokens
from compact_labse.students import StaticStudent, StudentConfig
from compact_labse.training import distillation as module
from compact_labse.training import losses
from compact_labse.training.distillation import Batch, Distillation, Objectives, corpus_sampler
from compact_labse.training.objectives_config import ObjectivesConfig
from compact_labse.training.targets import LiveTargets
from compact_labse.vocabulary import VocabularyConfig, train_vocabulary
from tests.test_pairs import corpus, stored  # noqa: F401
from tests.training.test_targets import Teacher


def batch(found: list[bool]) -> Batch:
    torch.manual_seed(0)
    ids = torch.randint(0, 40, (24,))
    target = F.normalize(torch.randn(4, 6), dim=-1)
    keys = torch.tensor([1, 2, 1, 3])
    return Batch(ids, torch.arange(0, 25, 3), keys, torch.arange(4), target, torch.tensor(found))


def student() -> StaticStudent:
    torch.manual_seed(1)
    return StaticStudent(StudentConfig(dim=5), 40)


def test_the_total_is_the_weighted_sum_of_the_named_objectives():
    config = ObjectivesConfig(regression=0.5, similarity=2, ranking=0.25, scale=10, margin=0.2)
    module = Objectives(student(), config, teacher_dim=6)
    given = batch([True, True, False, True])
    total, named = module(given)
    source, target = module.student(given.ids_K, given.offsets).chunk(2)
    known = given.found_B
    teacher = given.target_BE[known]
    regression = [losses.cosine_regression(module.projection(v[known]), teacher) for v in (source, target)]
    wanted = losses.similarity_shares(teacher, 0.05)
    similarity = [losses.similarity_kl(v[known], wanted, 0.05) for v in (source, target)]
    same = losses.same_meaning(given.source_key_B, given.target_key_B)
    expected = {
        "ranking": losses.translation_ranking(source, target, scale=10, margin=0.2, same_BB=same),
        "regression": sum(regression) / 2,
        "similarity": sum(similarity) / 2,
    }
    assert named.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(named[name], value)
    torch.testing.assert_close(
        total, 0.25 * expected["ranking"] + 0.5 * expected["regression"] + 2 * expected["similarity"]
    )


def test_every_objective_trains_the_student_and_the_projection():
    for weights in ({"regression": 1}, {"similarity": 1}, {"ranking": 1}):
        config = ObjectivesConfig(**({"regression": 0, "similarity": 0, "ranking": 0} | weights))
        module = Objectives(student(), config, teacher_dim=6)
        total, named = module(batch([True] * 4))
        total.backward()
        assert list(named) == list(weights)
        assert module.student.weight.grad.coalesce().values().abs().max() > 1e-4
        projected = isinstance(module.projection, torch.nn.Linear)
        assert projected == ("regression" in weights)
        assert not projected or module.projection.weight.grad.abs().max() > 1e-4


def test_a_batch_without_any_target_only_ranks():
    module = Objectives(student(), ObjectivesConfig(), teacher_dim=6)
    total, named = module(batch([False] * 4))
    assert named["regression"] == 0
    torch.testing.assert_close(total, named["ranking"])


def test_no_projection_where_the_dimensions_agree():
    assert isinstance(Objectives(student(), ObjectivesConfig(), teacher_dim=5).projection, torch.nn.Identity)


def test_the_scale_is_learned_only_when_asked_for():
    for learned in (False, True):
        module = Objectives(student(), ObjectivesConfig(regression=0, learn_scale=learned), None)
        module(batch([True] * 4))[0].backward()
        assert (module.log_scale.grad is not None) == learned


@pytest.fixture
def prepared(corpus, tmp_path):  # noqa: F811
    pairs = stored(corpus, tmp_path / "pairs", heldout=20, heldout_share=0.5)
    tokenizer = train_vocabulary(sampled_texts(pairs, 500, 2.0, seed=0), VocabularyConfig(size=150))
    write_tokens(pairs, tokenizer, max_tokens=32, special=False, folder=tmp_path)
    return pairs, tokenizer, tmp_path


def task(prepared, **settings) -> Distillation:
    pairs, tokenizer, tokens = prepared
    config = CorpusConfig(**settings)
    module = Objectives(StaticStudent(StudentConfig(dim=8), tokenizer.get_vocab_size()), ObjectivesConfig(), 6)
    sampler = corpus_sampler(pairs, ["en-de.tsv", "en-ru.tsv"], config, batch=20, seed=0)
    targets = LiveTargets(Teacher(), pairs)
    return Distillation(module, pairs, tokens, sampler=sampler, targets=targets, seed=0, device=torch.device("cpu"))


def test_a_batch_holds_pairs_with_their_targets(prepared):
    pairs, tokenizer, _ = prepared
    made = task(prepared).batch(3)
    again = task(prepared).batch(3)
    assert torch.equal(made.ids_K, again.ids_K)
    assert len(made.offsets) == 41
    rows = task(prepared)._sampler.rows(3)
    first = made.ids_K[: made.offsets[1]].tolist()
    assert first == tokenizer.encode(pairs.source[int(rows[0])], add_special_tokens=False).ids
    translation = made.ids_K[made.offsets[20] : made.offsets[21]].tolist()
    assert translation == tokenizer.encode(pairs.target[int(rows[0])], add_special_tokens=False).ids
    np.testing.assert_allclose(made.target_BE[0], Teacher().encode([pairs.source[int(rows[0])]])[0], atol=1e-5)


def test_a_student_may_change_its_training_batches(prepared):
    distillation = task(prepared)
    plain = distillation.batch(0)
    distillation.student.augment = lambda ids, offsets, random: (random.permutation(ids), offsets)
    changed, again = distillation.batch(0), distillation.batch(0)
    assert torch.equal(changed.ids_K, again.ids_K)
    assert not torch.equal(changed.ids_K, plain.ids_K)


class Turned:
    """Targets that are a student's own vectors, turned into ten dimensions; two thirds of the texts have one."""

    dim = 10

    def __init__(self, distillation: Distillation, turn_ED: np.ndarray) -> None:
        self.task, self.turn_ED = distillation, turn_ED

    def vectors(self, unique_B):
        rows = np.asarray(self.task.pairs.first[unique_B])
        found_B = unique_B % 3 > 0
        vectors_BE = self.task._encode("source", rows).detach().numpy() @ self.turn_ED.T
        return np.where(found_B[:, None], vectors_BE, 7.0).astype(np.float32), found_B


def test_a_trained_students_projection_starts_at_the_rotation_to_its_teacher(prepared, monkeypatch):
    distillation = task(prepared)
    turn_ED = np.linalg.qr(np.random.default_rng(0).normal(size=(10, 8)))[0]
    distillation.module = Objectives(distillation.student, ObjectivesConfig(ranking=0.0), 10)
    distillation.targets = Turned(distillation, turn_ED)
    for at_a_time in (2048, 50):
        monkeypatch.setattr(module, "ROTATION_TEXTS", at_a_time)
        np.testing.assert_allclose(distillation.rotation(), turn_ED, atol=1e-4)
    assert abs(distillation.module.projection.weight.detach().numpy() - turn_ED).max() > 0.1
    monkeypatch.setattr(module, "ROTATION_TEXTS", 12)
    assert distillation.rotation() is None, "too few texts to tell"
    distillation.module = Objectives(distillation.student, ObjectivesConfig(ranking=0.0), 8)
    assert distillation.rotation() is None, "nothing to turn"


def test_languages_and_files_are_drawn_by_temperature_and_weight(prepared):
    pairs, _, _ = prepared

    def share(**settings) -> float:
        sampler = corpus_sampler(pairs, ["en-de.tsv", "en-ru.tsv"], CorpusConfig(**settings), batch=50, seed=0)
        rows = np.concatenate([sampler.rows(step) for step in range(100)])
        assert np.isin(rows, pairs.train_rows).all()
        return float((pairs.language[rows] == 0).mean())

    sizes = np.bincount(pairs.language[pairs.train_rows])
    assert share(temperature=1) == pytest.approx(sizes[0] / sizes.sum(), abs=0.01)
    assert share(temperature=1000) == pytest.approx(0.5, abs=0.01)
    assert share(temperature=1, weights={"en-ru": 0}) == 1
    with pytest.raises(UserError, match="leave nothing to train on"):
        share(weights={"en": 0})


def test_held_out_retrieval_is_right_for_a_student_that_knows_and_by_chance_for_one_that_does_not(prepared):
    distillation = task(prepared)
    pairs = distillation.pairs
    random = distillation.evaluate()
    assert set(random) == {"de", "ru", "score"}
    assert random["score"] < 0.5

    class Knowing(torch.nn.Module):
        def forward(self, ids, offsets):
            return torch.eye(len(offsets) - 1)

    distillation.student = Knowing()
    assert distillation.evaluate()["score"] == 1
    pairs.heldout_rows = pairs.heldout_rows[:0]
    assert distillation.evaluate() == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regression": 0, "ranking": 0}, "one above 0"),
        ({"regression": -1}, "weights of at least 0"),
        ({"regression_kind": "l1"}, "known: cosine, mse"),
        ({"targets": "disk"}, "known: cached, live"),
        ({"max_targets": 0}, "max_targets must be at least 1"),
        ({"targets": "live", "max_targets": 9}, "max_targets limits cached vectors"),
        ({"scale": 0}, "must be positive"),
    ],
)
def test_bounds_are_checked_in_the_users_words(settings, message):
    with pytest.raises(UserError, match=message):
        ObjectivesConfig(**settings)
