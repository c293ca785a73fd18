"""A fresh process for every figure, what runs in it, the machine's limits, and what each suite measures."""
