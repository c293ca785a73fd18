"""`SentenceTransformer(FOLDER)`; NAME "torch", or an ONNX file's for backend="onnx"."""

from check import main
from sentence_transformers import SentenceTransformer


def load(folder, name):
    if name == "torch":
        return SentenceTransformer(str(folder), device="cpu").encode
    settings = {"file_name": f"onnx/{name}", "provider": "CPUExecutionProvider"}
    return SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=settings).encode


main(load)
