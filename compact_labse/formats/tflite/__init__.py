"""TFLite: any batch and length through TensorFlow, or fixed lengths through litert-torch; MediaPipe's metadata."""
