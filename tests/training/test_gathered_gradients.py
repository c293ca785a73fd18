"""Loss and every gradient on 1, 2 and 4 real processes equal those of the whole batch in one, computed the slow way."""

from __future__ import annotations

from functools import cache

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.ranks_program import CASES, MARGIN, PAIRS, Case, keys, start, step, texts, tower

RIGHT = [name for name in CASES if not name.startswith("wrong")]
WRONG = [name for name in CASES if name.startswith("wrong")]


def softmax_of_row(query: Tensor, columns: list[Tensor], true: int, skip: list[bool], scale: Tensor) -> Tensor:
    """Cross-entropy of one row, column by column."""
    scores = [scale * ((query * column).sum() - (MARGIN if k == true else 0)) for k, column in enumerate(columns)]
    kept = [score for k, score in enumerate(scores) if k == true or not skip[k]]
    return torch.stack(kept).logsumexp(0) - scores[true]


@cache
def expected(case: Case) -> dict[str, Tensor]:
    """Loss and gradients of one process that encodes all texts at once: loops over rows, columns and directions."""
    made, (ids, mask), pair_keys = tower(case), texts(case), keys(case)
    vectors_ND, scale = made(ids.flatten(0, 1), mask.flatten(0, 1))
    vectors = vectors_ND.view(PAIRS, -1, vectors_ND.shape[1])
    columns = [(i, s) for s in range(1, vectors.shape[1]) for i in range(PAIRS)]
    total = torch.zeros((), dtype=vectors.dtype)
    for i in range(PAIRS):
        own = pair_keys[i, 0]
        skip = [bool((own == pair_keys[j, s - 1]).any()) for j, s in columns]
        total = total + softmax_of_row(vectors[i, 0], [vectors[j, s] for j, s in columns], i, skip, scale)
        back = [vectors[j, 0] for j in range(PAIRS)]
        total = total + softmax_of_row(vectors[i, 1], back, i, skip, scale)
    loss = total / (2 * PAIRS)
    loss.backward()
    found = {name: p.grad for name, p in made.named_parameters() if p.requires_grad}
    for name, gradient in found.items():
        if "key.bias" not in name:  # softmax ignores what is added to all scores of a row
            assert gradient.abs().max() > 1e-5, f"the gradient of {name} is zero: comparing it proves nothing"
    return found | {"value/loss": loss.detach().squeeze()}


def distance(found: dict[str, Tensor], case: Case) -> float:
    """The largest relative error of the loss and of any parameter's gradient (the norm of the difference)."""
    wanted = expected(case)
    assert set(wanted) <= set(found)
    noise = 1e-12 if case.double else 1e-6  # what the key biases are made of
    errors = {n: float((found[n].view_as(v) - v).norm() / (v.norm() + noise)) for n, v in wanted.items()}
    return max(error for name, error in errors.items() if "key.bias" not in name)


def limit(case: Case) -> float:
    return 1e-6 if case.double else 1e-4


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def processes(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(f"ranks{request.param}")
    running = start("tests.ranks_program", request.param, [str(folder)])
    for process in running:
        _, complaints = process.communicate(timeout=300)
        assert process.returncode == 0, complaints[-3000:]
    return {name: load_file(folder / f"{name}.safetensors") for name in CASES}


@pytest.mark.parametrize("name", [name for name in RIGHT if "fsdp" not in name])
def test_one_process_in_chunks_or_at_once(name):
    case = CASES[name]
    made = tower(case)
    named = step(case, made, made)
    found = {n: p.grad for n, p in made.named_parameters() if p.grad is not None}
    assert distance(found | {"value/loss": named["loss"]}, case) < limit(case)


def test_several_processes_equal_one(processes):
    errors = {name: distance(processes[name], CASES[name]) / limit(CASES[name]) for name in RIGHT}
    assert all(error < 1 for error in errors.values()), errors


def test_wrong_gathers_have_the_right_loss_and_are_caught_by_their_gradients(processes):
    for name in WRONG:
        loss = processes[name]["value/loss"]
        torch.testing.assert_close(loss.double(), expected(CASES[name])["value/loss"], rtol=1e-6, atol=0)
        assert distance(processes[name], CASES[name]) > 0.05, name


def test_in_batch_accuracy_is_a_share(processes):
    assert {0 <= float(processes[name]["value/accuracy"]) <= 1 for name in RIGHT} == {True}
