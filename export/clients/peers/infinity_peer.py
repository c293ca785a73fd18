"""infinity's optimum engine, called in its own process instead of over HTTP."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

from check import main
from infinity_emb import AsyncEmbeddingEngine, EngineArgs


def load(folder, name):
    # infinity chooses the file itself: leave it one. At the top: this optimum finds none in onnx/ by infinity's words.
    copy = Path(tempfile.mkdtemp()) / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("onnx"))
    shutil.copyfile(folder / "onnx" / name, copy / "model.onnx")
    os.chdir(copy)  # an absolute path would be looked up inside the model's folder
    options = {"model_warmup": False, "onnx_disable_optimize": True, "device": "cpu"}
    # Without a pooling method it takes the first token, whatever 1_Pooling says.
    settings = EngineArgs(model_name_or_path=".", engine="optimum", pooling_method="mean", **options)

    async def embed(texts):
        engine = AsyncEmbeddingEngine.from_args(settings)
        async with engine:
            return (await engine.embed(texts))[0]

    return lambda texts: asyncio.run(embed(texts))


main(load)
