"""Makes and measures the candidates of a search: predicts, prunes, trains, exports and judges, each step made once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from compact_labse.compress import predict, steps
from compact_labse.compress.budget import Budget
from compact_labse.compress.candidates import TABLE_BITS, Candidate, Space
from compact_labse.compress.evidence import FITS, LOOKED_AT, REFUSED, TOO_LARGE, TOO_SLOW, TRAINED, Row
from compact_labse.compress.quality import Judge
from compact_labse.compress.search import Search
from compact_labse.compress.steps import Step
from compact_labse.errors import UserError
from compact_labse.folder import model_hash
from compact_labse.formats.contract import FILES, FOLDER
from compact_labse.formats.integers import table8, table_small, untable_small
from compact_labse.progress import say

Heal = Callable[[Path, Path, Path, Candidate], None]  # from a folder, to a folder, working in one, for a candidate
Export = Callable[[Path, Path, str], None]  # of a folder, to a folder, in a format
PROPOSALS = 120  # most of them cost nothing: too large, or known to be too slow
TRIES = 3  # of timing an artifact
SPOKEN = 200  # texts that timings take their rows from


@dataclass(kw_only=True)
class Workbench:
    """What the steps of all candidates share.

    `levels` are the trimmed models by their number of pieces, `shapes` untrained models over them, `whole` over the
    original. `heal` and `export` are the pipelines; `training` says what heals, for the names of its folders.
    """

    work: Path
    space: Space
    budget: Budget
    levels: Mapping[int, Step]
    whole: predict.Shapes
    shapes: Mapping[int, predict.Shapes]
    judge: Judge
    texts: Sequence[Path]
    data: str
    spoken: Sequence[str]
    languages: Sequence[str]
    training: Mapping[str, Any]
    heal: Heal
    export: Export
    _made: dict[Candidate, Step] = field(default_factory=dict)

    def predicted(self, one: Candidate, shapes: predict.Shapes | None = None) -> dict[str, Any]:
        """Bytes and milliseconds of a candidate from an untrained model of its shape."""
        shapes = shapes or self.shapes[one.pieces]

        def build(folder: Path) -> Mapping[str, Any]:
            folder.mkdir()
            found = predict.as_record(shapes.predict(one, folder, self.spoken[:SPOKEN]))
            shutil.rmtree(folder)
            say(f"{one.title}: {found['bytes'] / 1e6:.3f} MB, {found['latency']:.2f} ms")
            return found

        depends = {"candidate": one, "model": shapes.hash, "languages": self.languages}
        return steps.step(self.work, "predicted", depends, build).facts

    def refuse_impossible(self) -> None:
        """UserError if no candidate fits, with the nearest that there is: before anything is trained."""
        found = []
        for one in self.space.smallest():
            made = self.predicted(one)
            if self.budget.fits(made["bytes"], made["latency"]):
                return
            found.append((max(self.budget.excess(made["bytes"], made["latency"])), one, made))
        _, one, made = min(found, key=lambda each: each[0])
        raise UserError(
            f"no candidate meets {self.budget}: the nearest, {one.title}, has {made['bytes'] / 1e6:.2f} MB (model and "
            f"tokenizer) and takes {made['latency']:.2f} ms; raise the limits above that, or keep fewer languages"
        )

    def made(self, one: Candidate) -> Step:
        """A candidate before training: trimmed, then pruned."""
        sizes = replace(one, bits="")
        if sizes not in self._made:
            before = replace(self.space.original, pieces=one.pieces)
            level = self.levels[one.pieces].model
            self._made[sizes] = steps.pruned(self.work, level, before, one, self.texts, self.data)
        return self._made[sizes]

    def fitting(self, one: Candidate, known: Sequence[Row]) -> Row:
        """Whether a candidate fits: by arithmetic, by what is known of smaller ones, at last by a prediction."""
        tokenizer = len(predict.tokenizer_text(self.shapes[one.pieces].source))
        row = Row(candidate=one, state=FITS, least=(self.space.floor(one) + tokenizer, 0.0))
        if self.budget.excess(*row.least)[0] > 0:
            row.state, row.why = TOO_LARGE, "by its weights alone"
            return row
        for other in known:
            if other.state in (TOO_LARGE, TOO_SLOW) and self.space.contains(one, other.candidate):
                row.least, row.state, row.why = other.figures[:2], other.state, f"as {other.candidate.title}"
                return row
        row.predicted = self.predicted(one)
        size, latency = self.budget.excess(row.predicted["bytes"], row.predicted["latency"])
        row.state = TOO_LARGE if size > 0 else TOO_SLOW if latency > 0 else FITS
        return row

    def looks(self, search: Search, most: int, rows: list[Row]) -> Iterator[Row]:
        """Up to `most` candidates that fit, each looked at before training; `rows` gets what did not fit, too."""
        for one, tell in search.propose(PROPOSALS):
            row = self.fitting(one, rows)
            rows.append(row)
            if row.state == FITS:
                self.look(row)
            tell(*row.figures)
            if row.state == LOOKED_AT:
                yield row
                most -= 1
            if not most:
                return

    def look(self, row: Row) -> Row:
        """What a candidate keeps before training; of a bag of tokens, with its table in the candidate's bits."""
        one = row.candidate
        model = self.made(one).model
        if not one.layers and TABLE_BITS[one.bits] < 32 and self.space.bag:
            model = rounded(self.work, model, TABLE_BITS[one.bits]).model
        row.look = self.judge.judge(steps.opened(model), model, f"{one.title}, untrained")["quality"]
        row.state = LOOKED_AT
        return row

    def train(self, row: Row) -> Row:
        """Heal what was cut or coarsened, export it through the gates, and judge the artifact."""
        one, model = row.candidate, self.floats(row)[-1]
        artifact = steps.exported(self.work, model, one, self.languages, lambda out: self.export(model, out, one.bits))
        if "failed" in artifact.facts:
            row.state, row.why = REFUSED, artifact.facts["failed"]
            return row
        path = artifact.model / FOLDER / FILES[one.bits]
        found = self.judge.judge(steps.opened(path), path, one.title)
        times = self.timed(path)
        row.bytes = shipped_bytes(path)
        row.latency = round(sum(times), 4)
        row.quality, row.ratios, row.state = found["quality"], found["ratios"], TRAINED
        return row

    def floats(self, row: Row) -> list[Path]:
        """The float32 folders on the way to a candidate: trimmed, pruned, healed, as far as they differ."""
        one = row.candidate
        found = [self.levels[one.pieces].model, self.made(one).model]
        cut = found[0] != found[1]
        coarse = not one.layers and TABLE_BITS[one.bits] < 4  # only tables trained for so few bits pass their gates
        if cut or coarse or (row.look or 0) < self.budget.min_quality:
            before, heal = found[-1], lambda out, work: self.heal(found[1], out, work, one)
            after = steps.healed(self.work, before, one, self.training, heal).model
            if coarse or self._kept(after) >= self._kept(before):  # in few minutes training may lose more than it mends
                found.append(after)
        return list(dict.fromkeys(found))

    def _kept(self, model: Path) -> float:
        return float(self.judge.judge(steps.opened(model), model, model.parent.name)["quality"])

    def artifact(self, row: Row) -> Path:
        """The folder of a candidate's artifact."""
        model = self.floats(row)[-1]
        return steps.exported(self.work, model, row.candidate, self.languages, lambda out: None).model

    def timed(self, path: Path) -> tuple[float, float]:
        """Milliseconds that an artifact and its tokenizer take: the least of some tries, for other work only adds."""

        def build(folder: Path) -> Mapping[str, Any]:
            tries = [predict.measure(path, self.spoken[:SPOKEN]) for _ in range(TRIES)]
            return dict(zip(("model", "tokenize"), min(tries, key=sum), strict=True))

        facts = steps.step(self.work, "timed", {"model": model_hash(path), "tries": TRIES}, build).facts
        return facts["model"], facts["tokenize"]


def rounded(work: Path, model: Path, bits: int) -> Step:
    """A bag of tokens whose table has only values that an export in so many bits can hold."""

    def build(folder: Path) -> Mapping[str, Any]:
        shutil.copytree(model, folder, ignore=shutil.ignore_patterns("lineage.json"))
        path = folder / "model.safetensors"
        table_VD = load_file(path)["embedding.weight"].float().numpy()
        if bits == 8:
            codes, scale_V1 = table8(table_VD)
            found = codes * scale_V1
        else:
            found = untable_small(*table_small(table_VD, bits), bits)
        save_file({"embedding.weight": torch.from_numpy(found)}, path, metadata={"format": "pt"})
        return {}

    return steps.step(work, "rounded", {"model": model_hash(model), "bits": bits}, build)


def shipped_bytes(path: Path) -> int:
    """The bytes of an artifact, of data beside it, and of its tokenizer."""
    files = [*path.parent.glob(f"{path.name}*"), path.parent.parent / "tokenizer.json"]
    return sum(file.stat().st_size for file in files)
