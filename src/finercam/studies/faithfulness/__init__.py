"""The examination of whether a classifier looks at what tells two classes apart (arXiv 2501.11309, Section 4.3)."""
