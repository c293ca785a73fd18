"""Masked language modelling: what rows look like, that the loss is transformers' own, and that memory is bounded."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from compact_labse.errors import UserError
from compact_labse.gather import CorpusConfig, Record
from compact_labse.pairs import Pairs, write_pairs, write_tokens
from compact_labse.students.config import StudentConfig
from compact_labse.training import mlm_model, ranks
from compact_labse.training.masking import MaskingConfig, pieces_of
from compact_labse.training.mlm import MaskedLM
from compact_labse.training.mlm_model import HEADS, new_masked_model, open_masked_model
from compact_labse.training.mlm_rows import Draws, Frame, frame_of, framed
from tests.tiny_models import unigram, wordpiece
from tests.tiny_pairs import GERMAN, sentences

FRAME = Frame(first=2, last=3, longest=20)
SHAPE = StudentConfig(kind="bert", dim=16, layers=2, heads=2, ffn=24, max_tokens=48)
TOKENIZER = wordpiece()


def ragged(*rows):
    return np.array([value for row in rows for value in row], np.int64), np.cumsum([0, *map(len, rows)])


def test_rows_are_framed_and_pairs_stand_behind_one_another():
    ids, starts, types = framed(ragged([7, 8], [], [9]), None, FRAME)
    assert (ids.tolist(), starts.tolist(), types.any()) == ([2, 7, 8, 3, 2, 3, 2, 9, 3], [0, 4, 6, 9], False)
    ids, starts, types = framed(ragged([7, 8], []), ragged([5], [6, 4]), FRAME)
    assert ids.tolist() == [2, 7, 8, 3, 5, 3, 2, 3, 6, 4, 3]
    assert types.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1]
    assert starts.tolist() == [0, 6, 11]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rows = sentences(120)
    records = [Record(" ".join(r), " ".join(GERMAN[p] for p in r), "de", 0) for r in rows[:100]]
    records += [Record(" ".join(r), " ".join(r), "alone", 1) for r in rows[100:]]
    write_pairs(records, CorpusConfig(heldout=10, heldout_share=0.2), folder)
    pairs = Pairs(folder)
    write_tokens(pairs, TOKENIZER, 20, False, folder)
    return pairs


def task(corpus, model=None, *, tlm=0.5, files=("a", "b"), seed=0):
    draws = Draws(corpus, list(files), CorpusConfig(), batch=16, tlm=tlm, seed=seed)
    pieces, frame = pieces_of(TOKENIZER), frame_of(TOKENIZER.encode("").ids, 20)
    found = MaskedLM(
        corpus, corpus.folder, pieces=pieces, frame=frame, masking=MaskingConfig(share=0.3), draws=draws, seed=seed,
        device=torch.device("cpu"),
    )  # fmt: skip
    found.use(model or new_masked_model(SHAPE, 2, TOKENIZER.get_vocab_size(), 0, 0))
    return found


def unmasked(batch):
    ids = batch.ids_K.clone()
    ids[batch.places_M] = batch.labels_M
    rows = [ids[a:b].tolist() for a, b in zip(batch.offsets_B1[:-1], batch.offsets_B1[1:], strict=True)]
    return rows


def test_a_batch_is_pairs_in_either_order_then_sentences_of_all_languages(corpus):
    found = task(corpus)
    text = {}
    for row in range(len(corpus)):
        for side, other in ((corpus.source[row], corpus.target[row]), (corpus.target[row], corpus.source[row])):
            ids = [TOKENIZER.encode(part, add_special_tokens=False).ids for part in (side, other)]
            text[(*ids[0][:8], 3, *ids[1][:8])] = side == corpus.source[row]
            text[tuple(ids[0][:18])] = corpus.language[row]
    orders, singles = set(), set()
    for number in range(6):
        batch = found.batch(number)
        assert len(batch.offsets_B1) == 17
        for place, row in enumerate(unmasked(batch)):
            assert (row[0], row[-1]) == (2, 3)
            assert len(row) <= 20
            assert (3 in row[1:-1]) == (place < 8), "the first half are pairs"
            known = text[tuple(row[1:-1])]
            (orders if place < 8 else singles).add(known)
        first = int(batch.offsets_B1[8])
        assert batch.of_pairs == int((batch.places_M < first).sum()) > 0
        assert not batch.types_K[first:].any()
    assert orders == {True, False}, "either language may be first"
    assert singles == {0, 1}, "both corpora are drawn from"
    again = task(corpus).batch(3)
    assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(again, found.batch(3), strict=True))
    assert not torch.equal(found.batch(2).ids_K[:30], found.batch(3).ids_K[:30])


def test_text_without_translation_is_never_read_as_a_pair(corpus):
    found = task(corpus, tlm=1.0)
    for number in range(4):
        for row in unmasked(found.batch(number)):
            middle = row.index(3)
            assert row[1:middle] != row[middle + 1 : -1]
    assert found.batch(0).of_pairs == len(found.batch(0).labels_M)


def slow_loss(model, batch):
    """transformers' own loss: every row alone, all logits."""
    labels = torch.full_like(batch.ids_K, -100)
    labels[batch.places_M] = batch.labels_M
    total = 0.0
    for a, b in zip(batch.offsets_B1[:-1], batch.offsets_B1[1:], strict=True):
        types = {"token_type_ids": batch.types_K[None, a:b]} if model.takes_types else {}
        logits = model._whole[0](input_ids=batch.ids_K[None, a:b], **types).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits, labels[a:b], ignore_index=-100, reduction="sum")
    return total / len(batch.labels_M)


@pytest.mark.parametrize("at_once", [None, 7])
def test_loss_and_gradient_are_those_of_all_logits(corpus, monkeypatch, at_once):
    model = new_masked_model(SHAPE, 2, TOKENIZER.get_vocab_size(), 0, 3).double().eval()
    if at_once:
        monkeypatch.setattr(mlm_model, "LOGITS", at_once * TOKENIZER.get_vocab_size())
    found = task(corpus, model)
    batch = found.batch(0)
    loss, named = found.losses(batch)
    loss.backward()
    fast = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    slow = slow_loss(model, batch)
    slow.backward()
    assert float(loss.detach()) == pytest.approx(float(slow.detach()), rel=1e-6)
    weights = [batch.of_pairs, len(batch.labels_M) - batch.of_pairs]
    mean = sum(float(named[name].detach()) * w for name, w in zip(("tlm", "mlm"), weights, strict=True)) / sum(weights)
    assert mean == pytest.approx(float(loss.detach()), rel=1e-6)
    assert len(fast) > 20
    for name, parameter in model.named_parameters():
        if name in fast:
            assert fast[name].abs().max() > 1e-9 or ".key.bias" in name, f"{name}: a comparison of zeros proves nothing"
            torch.testing.assert_close(fast[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_a_batch_with_nothing_to_guess_has_no_loss_and_a_gradient_of_zeros(corpus):
    """Text of unknown characters alone, say."""
    found = task(corpus)
    found.pieces = found.pieces._replace(special_V=np.ones_like(found.pieces.special_V))
    loss, named = found.losses(found.batch(0))
    loss.backward()
    assert (float(loss.detach()), named) == (0.0, {})
    gradients = [p.grad for p in found.module.parameters() if p.grad is not None]
    assert len(gradients) > 20
    assert not any(gradient.any() for gradient in gradients)
    assert found.evaluate() == {}


@pytest.mark.parametrize("world", [2, 4])
def test_the_ranks_mean_gradient_is_the_whole_batchs(corpus, monkeypatch, world):
    """The mean over ranks is DDP's; each rank's part is computed here in turn."""
    model = new_masked_model(SHAPE, 2, TOKENIZER.get_vocab_size(), 0, 3).double().eval()
    found, losses = task(corpus, model), []

    def gradients():
        batch = found.batch(1)
        model.zero_grad()
        loss, named = found.losses(batch)
        loss.backward()
        losses.append([float(value.detach()) for value in (loss, *named.values())])
        return batch, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole, expected = gradients()
    monkeypatch.setattr(ranks, "world", lambda: world)
    parts = []
    for number in range(world):
        monkeypatch.setattr(ranks, "rank", lambda number=number: number)
        parts.append(gradients())
    assert [len(batch.offsets_B1) - 1 for batch, _ in parts] == [16 // world] * world
    assert sum(len(batch.labels_M) for batch, _ in parts) == len(whole.labels_M) == parts[0][0].masked
    rows = [unmasked(batch) for batch, _ in parts]
    assert [row for turn in zip(*rows, strict=True) for row in turn] == unmasked(whole)
    assert np.mean(losses[1:], axis=0) == pytest.approx(losses[0], rel=1e-6)
    for name, gradient in expected.items():
        assert gradient.abs().max() > 1e-9 or ".key.bias" in name, f"{name}: a comparison of zeros proves nothing"
        mean = sum(grads[name] for _, grads in parts) / world
        torch.testing.assert_close(mean, gradient, rtol=1e-4, atol=1e-8)  # logits are float32


def test_no_logits_of_unmasked_tokens_are_ever_made(corpus, monkeypatch):
    """The largest tensor that the head makes has a row per masked token of a part, not per token."""
    found, rows = task(corpus), []
    linear = torch.nn.functional.linear
    monkeypatch.setattr(mlm_model, "LOGITS", 5 * TOKENIZER.get_vocab_size())
    monkeypatch.setattr(mlm_model.F, "linear", lambda *given: rows.append(len(given[0])) or linear(*given))
    batch = found.batch(0)
    found.losses(batch)[0].backward()
    wide = [count for count in rows if count <= 5]
    assert sum(wide) >= 2 * len(batch.labels_M), "forward, and once more in the backward pass"


@pytest.mark.parametrize("name", ["minilm", "electra", "distilbert", "xlmr", "mpnet"])
def test_every_family_opens_saves_and_gives_transformers_logits(tiny, tmp_path, name):
    from transformers import AutoModelForMaskedLM

    model = open_masked_model(tiny(name), seed=1).eval()
    assert model.config.model_type in HEADS
    assert len(model.state_dict()) == len({t.data_ptr() for t in model.state_dict().values()}), "the table once"
    ids = torch.tensor([[2, 9, 30, 12, 3]])
    mask, types = torch.ones_like(ids), torch.zeros_like(ids)
    logits = AutoModelForMaskedLM.from_pretrained  # loaded below from what is saved
    model.save(tmp_path)
    with torch.no_grad():
        hidden = model.hidden(ids, mask, types)[0]
        ours = model.losses(hidden, ids[0])
        theirs = logits(str(tmp_path)).eval()(input_ids=ids, attention_mask=mask).logits[0]
    expected = torch.nn.functional.cross_entropy(theirs, ids[0], reduction="none")
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.guesses(hidden), theirs.argmax(-1))


def test_held_out_losses_fall_with_training_and_repeat(corpus):
    found = task(corpus)
    found.module.eval()
    with torch.no_grad():
        before, again = found.evaluate(), found.evaluate()
    assert before == again
    assert set(before) == {"mlm_loss", "mlm_accuracy", "tlm_loss", "tlm_accuracy", "score"}
    assert before["mlm_loss"] == pytest.approx(np.log(TOKENIZER.get_vocab_size()), rel=0.1)
    adam = torch.optim.Adam(found.module.parameters(), lr=3e-3)
    for number in range(60):
        adam.zero_grad()
        found.losses(found.batch(number))[0].backward()
        adam.step()
    with torch.no_grad():
        after = found.evaluate()
    assert after["mlm_loss"] < 0.7 * before["mlm_loss"]
    assert after["score"] > before["score"]


def test_a_tokenizer_without_special_tokens_is_refused():
    with pytest.raises(UserError, match="puts no special tokens"):
        frame_of([], 20)
    assert frame_of(unigram().encode("").ids, 9) == Frame(first=0, last=2, longest=9)
