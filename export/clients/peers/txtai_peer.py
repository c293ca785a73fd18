"""txtai on a model folder; a bag of tokens through its sentence-transformers method."""

from check import main
from txtai import Embeddings


def load(folder, name):
    bag = "StaticEmbedding" in (folder / "modules.json").read_text("utf-8")
    options = {"method": "sentence-transformers"} if bag else {"maxlength": True}
    embeddings = Embeddings(path=str(folder), gpu=False, **options)
    return lambda texts: embeddings.batchtransform(texts)


main(load)
