"""One rank of a gathered training step: leaves every parameter's gradient of every case in a folder.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 python -m tests.ranks_program FOLDER [CASE ...]
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from compact_labse.bodies import TransformerBody
from compact_labse.heads import Dense
from compact_labse.sentence_model import SentenceModel
from compact_labse.training import chunked, ranks
from compact_labse.training.ranking import gathered_ranking
from compact_labse.training.tower import Tower, shared

ROOT = Path(__file__).resolve().parents[1]
PAIRS, PIECES, LONGEST, DIM, MARGIN, SCALE = 8, 40, 7, 12, 0.3, 8.0


@dataclass(frozen=True)
class Case:
    """What a step is made of; `chunk` 0 encodes all at once."""

    chunk: int = 0
    keep: bool = False
    negatives: int = 0
    learn: bool = True
    double: bool = True
    engine: str = "ddp"
    gather: str = "right"
    dropout: bool = False


CASES = {
    "plain": Case(),
    "fixed-scale": Case(learn=False, negatives=1),
    "chunked": Case(chunk=3),
    "kept": Case(chunk=3, keep=True, negatives=1),
    "negatives-chunked-dropout": Case(chunk=4, negatives=2, dropout=True),
    "negatives-chunked-float": Case(chunk=4, negatives=2, double=False),
    "fsdp": Case(engine="fsdp", negatives=1),
    "fsdp-chunked": Case(engine="fsdp", chunk=3, negatives=1, dropout=True),
    "fsdp-kept": Case(engine="fsdp", chunk=3, keep=True),
    "wrong-detached": Case(gather="detached"),
    "wrong-own-slot": Case(gather="own-slot"),
    "wrong-own-slot-chunked": Case(gather="own-slot", chunk=3),
}


class FixedDropout(nn.Module):
    """Dropout whose mask is a function of the place in the text: the same however texts are spread over processes."""

    def forward(self, x: Tensor) -> Tensor:
        place = torch.arange(x[0].numel(), device=x.device).view(x.shape[1:])
        return x * ((place * 7919) % 11 > 2) / 0.8


def tower(case: Case) -> Tower:
    """A BERT of two layers with a Dense head; the same weights on every call."""
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=PIECES,
        hidden_size=DIM,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=16,
        initializer_range=0.2,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    bert = BertModel(config, add_pooling_layer=False)
    if case.dropout:
        for layer in bert.encoder.layer:
            layer.output.dropout = FixedDropout()
    model = SentenceModel(TransformerBody(bert), sentence_heads=(Dense(DIM, 9),))
    made = Tower(model, SCALE, learn_scale=case.learn).train()
    return made.double() if case.double else made


def texts(case: Case) -> tuple[Tensor, Tensor]:
    """Ids and mask `[PAIRS, 2 + negatives, LONGEST]` of different lengths."""
    random = torch.Generator().manual_seed(5)
    shape = (PAIRS, 2 + case.negatives, LONGEST)
    ids = torch.randint(1, PIECES, shape, generator=random)
    lengths = torch.randint(2, LONGEST + 1, shape[:2], generator=random)
    mask = (torch.arange(LONGEST) < lengths[..., None]).long()
    return ids * mask, mask


def keys(case: Case) -> Tensor:
    """Text keys `[PAIRS, 1 + negatives, 2]`; pairs 1 and 6 share a source, a negative of pair 2 its own target."""
    pairs = torch.arange(2 * PAIRS * (1 + case.negatives)).view(PAIRS, 1 + case.negatives, 2).clone()
    pairs[6, 0, 0] = pairs[1, 0, 0]
    if case.negatives:
        pairs[2, 1, 1] = pairs[2, 0, 1]
    return pairs


def step(case: Case, made: Tower, module: nn.Module) -> dict[str, Tensor]:
    """One step of this rank's share of the pairs: the gradients are left in the tower."""
    share = PAIRS // ranks.world()
    own = slice(ranks.rank() * share, (ranks.rank() + 1) * share)
    (ids, mask), pair_keys = texts(case), keys(case)
    ids_NT, mask_NT = ids[own].flatten(0, 1), mask[own].flatten(0, 1)
    size = case.chunk or len(ids_NT)
    chunks = list(zip(ids_NT.split(size), mask_NT.split(size), strict=True))

    def loss_of(vectors_ND: Tensor, scale: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        vectors_BSD = vectors_ND.view(share, -1, vectors_ND.shape[1])
        ranked = gathered_ranking(vectors_BSD, pair_keys[own], scale=scale, margin=MARGIN)
        return ranked.loss, {"accuracy": ranked.accuracy}

    return ranks.mean_of(chunked.backward(module, chunks, loss_of, keep=case.keep))


def gradients(made: nn.Module) -> dict[str, Tensor]:
    """Whole gradients by name."""
    return {name: ranks.whole(p.grad).clone() for name, p in made.named_parameters() if p.grad is not None}


class OwnSlot(torch.autograd.Function):
    """The mistake that keeps loss and direction: the gradient of the own rows alone comes back."""

    @staticmethod
    def forward(ctx, own):
        ctx.rows = len(own)
        return ranks.gather_values(own)

    @staticmethod
    def backward(ctx, gradient):
        return gradient[ranks.rank() * ctx.rows : (ranks.rank() + 1) * ctx.rows]


GATHERS = {"detached": lambda own: ranks.gather_values(own.detach()), "own-slot": OwnSlot.apply, "right": ranks.gather}


def start(program: str, world: int, words: list[str]) -> list[subprocess.Popen[str]]:
    """`world` processes of a program with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared_env = os.environ | {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, "-m", program, *words],
            cwd=ROOT,
            env=shared_env | {"RANK": str(number), "LOCAL_RANK": str(number), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(world)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, wanted = Path(sys.argv[1]), sys.argv[2:] or list(CASES)
    device = torch.device("cpu")
    with ranks.together(device, 60):
        for name in wanted:
            case = CASES[name]
            ranks.gather = GATHERS[case.gather]
            made = tower(case)
            named = step(case, made, shared(made, case.engine, device))
            found = gradients(made) | {f"value/{name}": value for name, value in named.items()}
            if ranks.is_first():
                save_file({name: value.contiguous() for name, value in found.items()}, folder / f"{name}.safetensors")
        dist.barrier()
