"""The gathered ranking loss in JAX, over the devices of this process: `python jax_program.py IN.npz OUT.npz`.

Written from the equations and not from our PyTorch: every device encodes its share of the pairs with one weight matrix,
`all_gather`s the vectors and ranks its own rows among everyone's columns. Runs in an environment with JAX alone.
Shapes: G pairs, B pairs of a device, A answers of a pair, X input width, D dimension.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

jax.config.update("jax_enable_x64", True)


def encoded(inputs, weight_XD):
    """Unit vectors."""
    vectors = jnp.tanh(inputs @ weight_XD)
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)


def found(query_BD, columns_ND, true_B, same_BN, scale, margin):
    """Cross-entropy of each row; columns that mean the same as the true one do not count."""
    is_true_BN = jnp.arange(len(columns_ND))[None] == true_B[:, None]
    logits_BN = scale * (query_BD @ columns_ND.T - margin * is_true_BN)
    logits_BN = jnp.where(same_BN & ~is_true_BN, -jnp.inf, logits_BN)
    return jax.nn.logsumexp(logits_BN, axis=1) - (logits_BN * is_true_BN).sum(1, where=is_true_BN)


def same(own_B2, all_N2):
    return (own_B2[:, None] == all_N2[None]).any(-1)


def of_device(weight_XD, log_scale, margin, source_BX, answers_BAX, keys_BA2):
    """The mean over all devices of each one's loss, computed on every device."""
    gather = partial(jax.lax.all_gather, axis_name="ranks", tiled=True)
    source_BD, answers_BAD = encoded(source_BX, weight_XD), encoded(answers_BAX, weight_XD)
    source_GD, answers_GAD, keys_GA2 = gather(source_BD), gather(answers_BAD), gather(keys_BA2)
    true_B = jax.lax.axis_index("ranks") * len(source_BD) + jnp.arange(len(source_BD))
    columns_ND, keys_N2 = (jnp.concatenate(jnp.unstack(part, axis=1)) for part in (answers_GAD, keys_GA2))
    scale, own_B2 = jnp.exp(log_scale), keys_BA2[:, 0]
    there_B = found(source_BD, columns_ND, true_B, same(own_B2, keys_N2), scale, margin)
    back_B = found(answers_BAD[:, 0], source_GD, true_B, same(own_B2, keys_GA2[:, 0]), scale, margin)
    return jax.lax.pmean((there_B.mean() + back_B.mean()) / 2, "ranks")


def main(given, out):
    values = dict(np.load(given))
    mesh = Mesh(np.array(jax.devices()), ("ranks",))
    spread = jax.shard_map(
        of_device,
        mesh=mesh,
        in_specs=(P(), P(), P(), P("ranks"), P("ranks"), P("ranks")),
        out_specs=P(),
    )
    names = ("weight", "log_scale", "margin", "source", "answers", "keys")
    arguments = [jnp.asarray(values[name]) for name in names]
    step = jax.jit(jax.value_and_grad(spread, argnums=(0, 1, 3, 4)))
    compiled = step.lower(*arguments).compile().as_text()
    loss, gradients = step(*arguments)
    facts = {"devices": len(jax.devices()), "gathers": "all-gather" in compiled, "loss": loss}
    np.savez(out, **facts, **dict(zip(("weight", "log_scale", "source", "answers"), gradients, strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
