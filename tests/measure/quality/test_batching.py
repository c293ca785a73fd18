"""An encoder that looks at padding is caught; one that does not is not."""

from __future__ import annotations

import numpy as np
import pytest

from compact_labse.measure.quality.batching import PADDED, conditions, lowest_cosine


class Tokens:
    pad_id = 0


class Fake:
    """Embeds the mean of its ids; `leaks` also counts the padding."""

    tokens = Tokens()
    max_tokens: int | None = 512
    seen: list[tuple[int, int]]

    def __init__(self, leaks: float = 0.0, max_tokens: int | None = 512) -> None:
        self.leaks, self.max_tokens, self.seen = leaks, max_tokens, []

    def tokenize(self, texts: list[str]) -> list[list[int]]:
        return [[len(word) for word in text.split()] for text in texts]

    def forward(self, ids_BT: np.ndarray, mask_BT: np.ndarray) -> np.ndarray:
        self.seen.append(ids_BT.shape)
        assert ids_BT.shape == mask_BT.shape
        mean_B = ids_BT.sum(1) / mask_BT.sum(1)
        angle_B = mean_B + self.leaks * (1 - mask_BT).sum(1)
        return np.stack([np.cos(angle_B), np.sin(angle_B)], axis=1).astype(np.float32)


TEXTS = [" ".join(["a" * (1 + (row + n) % 3) for n in range(1 + row % 11)]) for row in range(70)]


def test_vectors_that_ignore_padding_do_not_change():
    found = conditions(Fake(), TEXTS)
    assert list(found) == ["alone", "batch_8", "batch_64", f"padded_{PADDED}"]
    assert all(lowest_cosine(found["alone"], vectors) > 0.999999 for vectors in found.values())


def test_vectors_that_leak_padding_are_caught():
    found = conditions(Fake(leaks=0.02), TEXTS)
    cosines = [lowest_cosine(found["alone"], found[name]) for name in list(found)[1:]]
    assert cosines[0] < 0.9999
    assert cosines[2] < cosines[0]


def test_every_text_is_padded_to_the_length_that_the_model_allows():
    fake = Fake(max_tokens=20)
    conditions(fake, TEXTS)
    assert max(length for _, length in fake.seen) == 20
    assert {batch for batch, _ in fake.seen} == {1, 8, 64, 6}


@pytest.mark.parametrize("name", ["minilm", "static"])
def test_real_encoders_do_not_see_their_neighbours(tiny, name: str):
    from compact_labse.encoder import load

    found = conditions(load(tiny(name)), ["A cat.", "Two dogs ran away from the loud machine.", "Eins zwei drei"] * 3)
    assert all(lowest_cosine(found["alone"], vectors) > 0.9999 for vectors in found.values())
