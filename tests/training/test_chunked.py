"""Chunks: the same dropout masks in both passes, one more forward pass and no more, memory that does not grow."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import Tensor

from compact_labse.training import chunked
from compact_labse.training.pair_training import padded_chunks
from compact_labse.training.ranking import gathered_ranking
from tests.ranks_program import CASES, PAIRS, Case, keys, texts, tower


def dropping(case: Case):
    made = tower(case)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    return made


def chunks_of(case: Case, size: int) -> list[chunked.Chunk]:
    ids, mask = texts(case)
    return list(zip(ids.flatten(0, 1).split(size), mask.flatten(0, 1).split(size), strict=True))


def ranked(case: Case, vectors_ND: Tensor, scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    vectors_BSD = vectors_ND.view(PAIRS, -1, vectors_ND.shape[1])
    return gathered_ranking(vectors_BSD, keys(case), scale=scale, margin=0.3).loss, {}


def gradients(made) -> dict[str, Tensor]:
    return {name: p.grad for name, p in made.named_parameters()}


def kept_whole(case: Case, size: int) -> tuple[dict[str, Tensor], Tensor]:
    """Gradients when all chunks' activations are kept, and the random state afterwards."""
    made = dropping(case)
    torch.manual_seed(11)
    outs = [made(*chunk) for chunk in chunks_of(case, size)]
    ranked(case, torch.cat([vectors for vectors, _ in outs]), outs[-1][1])[0].backward()
    return gradients(made), torch.get_rng_state()


def in_chunks(case: Case, size: int) -> tuple[dict[str, Tensor], Tensor]:
    made = dropping(case)
    torch.manual_seed(11)
    chunked.backward(made, chunks_of(case, size), partial(ranked, case))
    return gradients(made), torch.get_rng_state()


def largest_error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    return max(float((found[name] - value).norm() / (value.norm() + 1e-9)) for name, value in wanted.items())


@pytest.mark.parametrize("size", [3, 5, 16])
def test_both_passes_drop_the_same_activations(size):
    case = CASES["plain"]
    (found, after), (wanted, after_whole) = in_chunks(case, size), kept_whole(case, size)
    assert largest_error(found, wanted) < 1e-9
    assert torch.equal(after, after_whole), "the next step's masks are the same, too"
    other = dropping(case).eval()
    chunked.backward(other, chunks_of(case, size), partial(ranked, case))
    assert largest_error(gradients(other), wanted) > 0.01, "dropout does something"


def test_other_masks_in_the_second_pass_would_be_seen(monkeypatch):
    monkeypatch.setattr(chunked, "set_random_state", lambda device, state: None)
    case = CASES["plain"]
    assert largest_error(in_chunks(case, 3)[0], kept_whole(case, 3)[0]) > 0.01


def test_chunks_cost_one_more_forward_pass_and_one_chunk_none():
    case = CASES["plain"]
    for size, passes, keep in ((16, 1, False), (4, 2, False), (4, 1, True)):
        made, seen = dropping(case), []
        made.register_forward_hook(lambda module, given, out, seen=seen: seen.append(len(given[0])))
        chunked.backward(made, chunks_of(case, size), partial(ranked, case), keep=keep)
        assert sum(seen) == passes * 2 * PAIRS


def test_bfloat16_points_where_float32_does():
    case = Case(double=False, chunk=4)
    autocast = partial(torch.autocast, "cpu", torch.bfloat16)
    low, full = tower(case), tower(case)
    for made, kind in ((low, {"autocast": autocast}), (full, {})):
        chunked.backward(made, chunks_of(case, 4), partial(ranked, case), **kind)
    one, other = (torch.cat([g.ravel() for g in gradients(made).values()]) for made in (low, full))
    assert torch.cosine_similarity(one, other, dim=0) > 0.99
    assert not torch.equal(one, other)


def test_padded_chunks_keep_every_text_and_its_place():
    random = np.random.default_rng(0)
    rows = [random.integers(1, 50, size) for size in (3, 9, 1, 4, 4, 7, 2)]
    chunks, place_N = padded_chunks(rows, 3, pad_id=0)
    assert [ids.shape for ids, _ in chunks] == [(3, 9), (3, 4), (1, 1)], "as wide as the longest, the longest first"
    flat = [ids[mask == 1] for chunk in chunks for ids, mask in zip(*chunk, strict=True)]
    for row, place in zip(rows, place_N, strict=True):
        assert np.array_equal(flat[place], row)
    assert all((ids[mask == 0] == 0).all() for ids, mask in chunks)
