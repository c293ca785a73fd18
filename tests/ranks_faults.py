"""One rank of a job in which something goes wrong: prints the UserError that it meets.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m tests.ranks_faults FAULT
"""

from __future__ import annotations

import os
import sys
import time

import torch

from compact_labse.errors import UserError
from compact_labse.training import ranks

TIMEOUT_S = 2.0


def meet(fault: str) -> None:
    """Two exchanges that work, then one in which the last rank misbehaves."""
    last = ranks.rank() == ranks.world() - 1
    assert ranks.any_of([last, False]) == [True, False]
    assert ranks.from_all(ranks.rank()) == list(range(ranks.world()))
    assert ranks.from_first(ranks.rank()) == 0
    assert ranks.gather(torch.full((2, 1), float(ranks.rank()))).mean() == (ranks.world() - 1) / 2
    made = ranks.after_first(lambda: [f"made by {ranks.rank()}"])
    assert made == [f"made by {ranks.rank()}"]
    rows = 3
    if last and fault == "uneven":
        rows = 2
    if last and fault == "dies":
        os._exit(9)
    if last and fault == "sleeps":
        time.sleep(4 * TIMEOUT_S)
    ranks.check_same([rows, 4], "batches")
    ranks.gather(torch.ones(rows, 4))


if __name__ == "__main__":
    try:
        with ranks.together(torch.device("cpu"), TIMEOUT_S):
            meet(sys.argv[1])
    except UserError as error:
        print(error)
        sys.stdout.flush()
        os._exit(2)
