"""What is measured where the truth is known."""
