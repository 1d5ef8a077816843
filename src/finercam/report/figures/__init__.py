"""Figures for print, after those of the paper: one file each."""
