"""Evaluation data, and every measure of how good vectors are."""
