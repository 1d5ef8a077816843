"""Data sets of look-alikes: formats and their readers, and where things on a photo lie in a model's input."""
