"""What carries the difference between two classes: which parts of the object, or, where none are known, which patches."""
