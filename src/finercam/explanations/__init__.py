"""Questions put to models, and their answers: what a user holds."""
