"""Extensions of Sphinx for this guide."""
