"""Regions of explanations in the formats of annotation tools, tables and pictures: one file each."""
