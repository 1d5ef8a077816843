"""Pictures: one function each. Scaling to 0..1 happens here and nowhere else."""
