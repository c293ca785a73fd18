"""Quality, latency, memory and size of encoders, measured so that the figures can be quoted."""
