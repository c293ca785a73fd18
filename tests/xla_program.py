"""Our ranking loss over several torch_xla devices: `python xla_program.py IN.npz OUT.npz`, in torch_xla's environment.

The loss is `compact_labse.training.ranking.gathered_ranking` itself. The pairs are sharded over a mesh of devices
(SPMD), and the compiler puts in the collectives that our own gather makes by hand elsewhere.
"""

import os
import sys
import tempfile
from pathlib import Path

DUMP = tempfile.mkdtemp()
os.environ["XLA_FLAGS"] = f"--xla_dump_to={DUMP} --xla_dump_hlo_as_text"

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch_xla  # noqa: E402
import torch_xla.distributed.spmd as spmd  # noqa: E402
import torch_xla.runtime as runtime  # noqa: E402

from compact_labse.training.ranking import gathered_ranking  # noqa: E402


def main(given, out):
    values = dict(np.load(given))
    runtime.use_spmd()
    count, device = runtime.global_runtime_device_count(), torch_xla.device()
    mesh = spmd.Mesh(np.arange(count), (count,), ("ranks",))
    tensors = {name: torch.from_numpy(value).to(device) for name, value in values.items()}
    for name in ("source", "answers", "keys"):
        spmd.mark_sharding(tensors[name], mesh, ("ranks", *[None] * (tensors[name].ndim - 1)))
    for name in ("weight", "log_scale", "source", "answers"):
        tensors[name].requires_grad_(True)
    inputs_GSX = torch.cat([tensors["source"][:, None], tensors["answers"]], 1)
    vectors_GSD = torch.nn.functional.normalize(torch.tanh(inputs_GSX @ tensors["weight"]), dim=-1)
    scale, margin = tensors["log_scale"].exp(), float(values["margin"])
    loss = gathered_ranking(vectors_GSD, tensors["keys"], scale=scale, margin=margin).loss
    loss.backward()
    torch_xla.sync()
    found = {name: tensors[name].grad.cpu().numpy() for name in ("weight", "log_scale", "source", "answers")}
    compiled = "".join(path.read_text() for path in Path(DUMP).glob("*after_optimizations.txt"))
    gathers = "all-gather" in compiled or "all-reduce" in compiled
    np.savez(out, devices=count, gathers=gathers, loss=loss.item(), **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
