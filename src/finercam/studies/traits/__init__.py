"""What carries the difference between two classes: which parts of the object, or which patches of the photos."""
