"""Measuring explanations over a data set: what is measured, how one shard is, and the tables made of the rows."""
