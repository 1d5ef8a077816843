"""Formats that explanations are saved in: one file each."""
