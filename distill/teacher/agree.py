"""Turn a model's vectors so that translations agree more: a matrix behind its pooling, computed, not trained.

    python distill/teacher/agree.py --model teacher --data pairs/ --corpus.avoid EVAL... --out turned
    python distill/teacher/agree.py --model teacher --width 352 --data pairs/ --corpus.avoid EVAL... --out narrow

From the model's vectors of both sides of some training pairs, `shared_directions`: what tells translations apart is
damped, as in whitening (Su et al. 2021) but of differences of translations, not of all vectors. A bag of tokens takes
the matrix into its table; any other model gets a Dense, which sentence-transformers and every export know.

Shapes: N pairs, D dimension, W width of the turned vectors.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from compact_labse.configuration import Words, run_script
from compact_labse.corpus.files import PAIR_KINDS, find_sources
from compact_labse.errors import UserError
from compact_labse.folder import check_out, file_hashes
from compact_labse.gather import CorpusConfig
from compact_labse.progress import say
from compact_labse.stages import alone_in

BATCH = 1024
LEAST = 4  # pairs per dimension


@dataclass(frozen=True, kw_only=True)
class AgreeConfig:
    """Whose vectors are turned, and by which pairs.

    Args:
        model: Name or folder of the encoder.
        data: Files, folders or globs of sentence pairs.
        out: Folder that the turned model is written to.
        width: Values of a turned vector, from the directions in which translations agree most; all of them by default.
            Fewer are then rotated at random, so that few bits round each as finely as the others.
        pairs: How many of them decide.
        seed: Which ones are drawn.
        overwrite: Replace `out` if it exists.
    """

    model: str
    out: str
    data: list[str] = field(default_factory=list)
    width: int | None = None
    pairs: int = 20_000
    seed: int = 0
    overwrite: bool = False
    corpus: CorpusConfig = field(default_factory=CorpusConfig)

    def __post_init__(self) -> None:
        if not self.data:
            raise UserError("no corpus was named: give --data at least one file or folder")
        if self.pairs < 1 or self.seed < 0:
            raise UserError(f"pairs must be at least 1 and seed at least 0, got {self.pairs} and {self.seed}")


WORDS = Words(
    command="agree",
    usage="python distill/teacher/agree.py --model MODEL --data PATH... --out DIR [--config FILE] [KEY=VALUE]...",
    description=str(__doc__),
    lists=("--data", "--corpus.avoid"),
    hidden=("corpus.companions",),
)


def run(cfg: AgreeConfig) -> Path:
    """Write the turned model; gives its folder."""
    import numpy as np

    from compact_labse import prepare
    from compact_labse.compress.model_files import model_folder
    from compact_labse.compress.shared_directions import shared_directions, spread, write_turned
    from compact_labse.encoder import load
    from compact_labse.training.distillation import corpus_sampler

    check_out(Path(cfg.out), cfg.overwrite, cfg.model)
    folder, encoder = model_folder(cfg.model), load(cfg.model)
    width = encoder.dim if cfg.width is None else cfg.width
    if not 1 <= width <= encoder.dim:
        raise UserError(f"width must be from 1 to the {encoder.dim} values of this model's vectors, got {width}")
    work = Path(cfg.out.rstrip("/") + ".work")
    sources = find_sources(cfg.data, None, PAIR_KINDS)
    with alone_in(work):
        pairs, _ = prepare.prepare_pairs(sources, [], cfg.corpus, work / "pairs")
        files = [source.name for source in sources]
        batch = min(BATCH, len(pairs.train_rows))
        sampler = corpus_sampler(pairs, files, cfg.corpus, batch, cfg.seed)
        drawn = np.concatenate([sampler.rows(step) for step in range(-(-cfg.pairs // batch))])
        rows_N = np.unique(drawn)
        if len(rows_N) < LEAST * encoder.dim:
            raise UserError(f"{len(rows_N)} distinct pairs are too few for vectors of {encoder.dim} values: give more")
        x_ND, y_ND = (encoder.encode(texts.texts(rows_N)) for texts in (pairs.source, pairs.target))
        map_DW = shared_directions(x_ND, y_ND, width)
        if cfg.width is not None:
            map_DW = spread(map_DW, cfg.seed)
        told = {"config": {**asdict(cfg), "rows": len(rows_N)}, "inputs": file_hashes(files)}
        write_turned(folder, map_DW, Path(cfg.out), overwrite=cfg.overwrite, **told)
    say(f"turned by {len(rows_N):,} pairs: {cfg.out}")
    return Path(cfg.out)


def main(words: list[str]) -> int:
    """Run what the words describe; gives the exit code, and one sentence on stderr if something fails."""
    return run_script(words, AgreeConfig, WORDS, run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
