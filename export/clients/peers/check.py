"""What the programs beside this file share: they embed the texts of an `expected.json` and say how far they are off."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def main(load: Callable[[Path, str], Callable[[list[str]], Sequence[Any]]]) -> None:
    """`program FOLDER NAME EXPECTED`: print the worst cosine; exit code 1 if it is less than the artifact promises."""
    import numpy as np

    folder, name, file = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    expected = json.loads(file.read_text("utf-8"))
    rows = [row for row in expected["texts"] if row["text"]]
    vectors = np.asarray(list(load(folder, name)([row["text"] for row in rows])), np.float64)
    worst = min(float(a @ np.array(row["vector"])) for a, row in zip(vectors, rows, strict=True))
    print(f"worst cosine {worst:.7f} of {len(rows)} texts")
    sys.exit(not worst >= expected["artifacts"][name]["worst_cosine"])
