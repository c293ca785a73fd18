"""Losses against slow, obvious versions of themselves, forward and backward."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from compact_labse.training import losses


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    vectors = torch.randn(rows, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return F.normalize(vectors, dim=-1).float().requires_grad_()


def slow_ranking(source, target, scale, margin, same=None):
    """Equation by equation: one softmax per row and direction, Python loops."""
    size, total, source, target = len(source), 0.0, source.double(), target.double()
    for left, right in ((source, target), (target, source)):
        for i in range(size):
            true = scale * ((left[i] * right[i]).sum() - margin)
            terms = [true.exp()]
            for j in range(size):
                if j != i and not (same is not None and same[i, j]):
                    terms.append((scale * (left[i] * right[j]).sum()).exp())
            total = total - (true.exp() / sum(terms)).log()
    return (total / (2 * size)).float()


def assert_same_forward_and_backward(fast, slow, inputs, tolerance=1e-5):
    fast_grads = torch.autograd.grad(fast, inputs)
    slow_grads = torch.autograd.grad(slow, inputs)
    torch.testing.assert_close(fast, slow, rtol=tolerance, atol=tolerance)
    for one, other in zip(fast_grads, slow_grads, strict=True):
        assert other.abs().max() > 1e-4, "a comparison of two zero gradients proves nothing"
        torch.testing.assert_close(one, other, rtol=1e-3, atol=tolerance)


@pytest.mark.parametrize("scale", [10.0, 60.0])  # with and without the hand-written gradient
@pytest.mark.parametrize("masked", [False, True])
def test_ranking_equals_the_loops(masked, scale):
    source, target = unit(7, 5, 0), unit(7, 5, 1)
    same = losses.same_meaning(torch.tensor([1, 2, 3, 1, 5, 6, 7]), torch.tensor([1, 2, 3, 4, 5, 5, 7]))
    same = same if masked else None
    fast = losses.translation_ranking(source, target, scale=scale, margin=0.3, same_BB=same)
    assert_same_forward_and_backward(fast, slow_ranking(source, target, scale, 0.3, same), [source, target], 1e-4)


def test_ranking_without_the_mask_differs_so_that_the_test_above_can_fail():
    source, target = unit(4, 5, 0), unit(4, 5, 1)
    keys = torch.tensor([1, 1, 2, 3])
    masked = losses.translation_ranking(
        source, target, scale=10.0, margin=0.3, same_BB=losses.same_meaning(keys, torch.arange(4))
    )
    plain = losses.translation_ranking(source, target, scale=10.0, margin=0.3)
    assert masked < plain


def test_ranking_of_identical_vectors_is_the_log_of_the_batch():
    vectors = unit(1, 5, 0).expand(6, 5)
    loss = losses.translation_ranking(vectors, vectors, scale=3.0, margin=0.0)
    assert loss.item() == pytest.approx(math.log(6), abs=1e-5)


def test_a_learned_scale_receives_its_gradient():
    source, target, scale = unit(5, 4, 0), unit(5, 4, 1), torch.tensor(5.0, requires_grad=True)
    fast = losses.translation_ranking(source, target, scale=scale, margin=0.2)
    assert_same_forward_and_backward(fast, slow_ranking(source, target, scale, 0.2), [scale, source, target])


@pytest.mark.parametrize("temperature", [0.1, 0.02])  # with and without the hand-written gradient
def test_similarity_equals_the_loops(temperature):
    student, teacher = unit(6, 4, 0), unit(6, 9, 1)
    fast = losses.similarity_kl(student, losses.similarity_shares(teacher, temperature), temperature)
    slow = torch.tensor(0.0)
    for i in range(6):
        others = [j for j in range(6) if j != i]
        p = torch.stack([(teacher[i] * teacher[j]).sum() / temperature for j in others]).softmax(0).detach()
        q = torch.stack([(student[i] * student[j]).sum() / temperature for j in others]).softmax(0)
        slow = slow + (p * (p.log() - q.log())).sum()
    assert_same_forward_and_backward(fast, slow / 6, [student], 1e-4)


def test_similarity_is_zero_where_student_and_teacher_agree_and_for_a_batch_of_one():
    vectors = unit(5, 4, 0)
    assert losses.similarity_kl(vectors, losses.similarity_shares(vectors, 0.05), 0.05).item() == pytest.approx(
        0, abs=1e-5
    )
    assert losses.similarity_kl(vectors[:1], losses.similarity_shares(vectors[:1], 0.05), 0.05).item() == 0


def test_bfloat16_changes_little():
    """Under autocast the products are bf16, forward and backward; loss and gradient stay close to float32."""
    source, target = unit(32, 64, 0), unit(32, 64, 1)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        wanted = losses.similarity_shares(target, 0.1)
        loss = losses.translation_ranking(source, target, scale=10.0, margin=0.1)
        loss = loss + losses.similarity_kl(source, wanted, 0.1)
        return loss, torch.autograd.grad(loss, source)[0]

    exact, gradient = both()
    with torch.autocast("cpu", torch.bfloat16):
        low, low_gradient = both()
    assert low.item() == pytest.approx(exact.item(), rel=0.01)
    assert F.cosine_similarity(low_gradient.flatten(), gradient.flatten(), dim=0) > 0.999


def test_cosine_regression_equals_the_loops_and_ignores_the_length_of_the_guess():
    guess, target = unit(5, 4, 0), unit(5, 4, 1)
    slow = sum(1 - (g / g.norm() * t / t.norm()).sum() for g, t in zip(guess, target, strict=True)) / 5
    assert_same_forward_and_backward(losses.cosine_regression(guess, target), slow, [guess])
    torch.testing.assert_close(losses.cosine_regression(3 * guess, target), slow)


def test_squared_regression_equals_the_loops_and_is_twice_the_cosine_one_on_unit_vectors():
    guess, target = unit(5, 4, 0), unit(5, 4, 1)
    fast = losses.squared_regression(guess, target)
    torch.testing.assert_close(fast, 2 * losses.cosine_regression(guess, target))
    slow = sum(((g - t) ** 2).sum() for g, t in zip(guess, target, strict=True)) / 5
    assert_same_forward_and_backward(fast, slow, [guess])


@pytest.mark.parametrize("width", [3, 5, 8])
def test_the_nearest_rotation_is_orthonormal_and_no_random_one_is_nearer(width):
    generator = torch.Generator().manual_seed(width)
    ours_ND, theirs_NE = torch.randn(40, 5, generator=generator), torch.randn(40, width, generator=generator)
    found_ED = losses.nearest_rotation(ours_ND, theirs_NE)
    narrow = min(width, 5)
    square = found_ED @ found_ED.T if width < 5 else found_ED.T @ found_ED
    torch.testing.assert_close(square, torch.eye(narrow))

    def distance(map_ED):
        return float((ours_ND @ map_ED.T - theirs_NE).square().sum())

    for _ in range(50):
        other = torch.linalg.qr(torch.randn(max(width, 5), narrow, generator=generator))[0]
        other_ED = other.T if width < 5 else other
        assert distance(found_ED) < distance(other_ED)
