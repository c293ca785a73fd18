"""Training: the loop and its checkpoints; what is trained in it: students, teachers on several ranks, masked models."""
