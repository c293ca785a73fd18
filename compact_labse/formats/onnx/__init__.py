"""ONNX: the graph in float32, its formats in fewer bits, weights in memory or in a file, variants for peers."""
