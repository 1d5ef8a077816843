"""Data sets of look-alikes: readers of folders and benchmarks, and the embedded aviary."""
