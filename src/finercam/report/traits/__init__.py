"""What tells two classes apart, as parts of a page: places, a common frame, patches, and photos."""
