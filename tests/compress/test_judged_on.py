"""What candidates are judged on: the languages that stay, under whatever codes a data set has for them."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="judging opens encoders: the extra 'train'")

from compact_labse.compress.held_out import in_languages
from compact_labse.errors import UserError
from compact_labse.measure.quality.datasets import Parallel, Similarity

TATOEBA = Parallel(name="tatoeba", pairs={code: ([code], ["English"]) for code in ("deu", "cmn", "tha")})
STS = Similarity(name="sts", pairs={code: ([code], [code], [1.0]) for code in ("en", "de", "pt")})


@pytest.mark.parametrize(
    ("languages", "left"),
    [
        ((), {"tatoeba": ["deu", "cmn", "tha"], "sts": ["en", "de", "pt"]}),
        (("en", "zh"), {"tatoeba": ["cmn"], "sts": ["en"]}),
        (("en",), {"sts": ["en"]}),
    ],
)
def test_only_languages_that_stay_are_judged(languages, left):
    found = in_languages([TATOEBA, STS], languages)
    assert {one.name: list(one.pairs) for one in found} == left
    assert found[-1].pairs["en"] == (["en"], ["en"], [1.0])


def test_nothing_left_to_judge_on_is_said():
    with pytest.raises(UserError, match="--eval has nothing in th: its languages are de, en, pt; leave out --eval"):
        in_languages([STS], ("th",))
