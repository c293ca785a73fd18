"""Models of other frameworks as model folders, and model folders as checkpoints of TensorFlow."""
