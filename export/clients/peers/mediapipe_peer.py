"""MediaPipe's TextEmbedder, which tokenizes with the vocabulary inside the file and cuts at 128 tokens."""

from check import main
from mediapipe.tasks import python as mediapipe
from mediapipe.tasks.python import text


def load(folder, name):
    options = text.TextEmbedderOptions(
        base_options=mediapipe.BaseOptions(model_asset_path=str(folder / "tflite" / name)), l2_normalize=True
    )
    embedder = text.TextEmbedder.create_from_options(options)
    return lambda texts: [embedder.embed(one).embeddings[0].embedding for one in texts]


main(load)
