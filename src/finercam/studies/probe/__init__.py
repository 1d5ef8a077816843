"""Training linear probes: features once, a linear head on them, and tables of how well it did."""
