"""infinity's optimum engine, called in its own process instead of over HTTP."""

import asyncio
import shutil
import tempfile
from pathlib import Path

from check import main
from infinity_emb import AsyncEmbeddingEngine, EngineArgs


def load(folder, name):
    # infinity chooses the file itself: leave it one.
    copy = Path(tempfile.mkdtemp()) / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("onnx"))
    (copy / "onnx").mkdir()
    shutil.copyfile(folder / "onnx" / name, copy / "onnx" / "model.onnx")
    settings = EngineArgs(
        model_name_or_path=str(copy), engine="optimum", device="cpu", model_warmup=False, onnx_disable_optimize=True
    )

    async def embed(texts):
        async with AsyncEmbeddingEngine.from_args(settings) as engine:
            return (await engine.embed(texts))[0]

    return lambda texts: asyncio.run(embed(texts))


main(load)
