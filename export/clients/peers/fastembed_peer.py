"""fastembed's custom models, from a local folder: it pools `last_hidden_state` by itself."""

import json

from check import main
from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType


def load(folder, name):
    dim = json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"]
    TextEmbedding.add_custom_model(
        model="local",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/local"),
        dim=dim,
        model_file=f"onnx/{name}",
    )
    return TextEmbedding("local", specific_model_path=str(folder), threads=1).embed


main(load)
