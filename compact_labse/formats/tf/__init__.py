"""A sentence encoder and its tokenizer in TensorFlow's operators: what TFLite files and SavedModels are made of."""
