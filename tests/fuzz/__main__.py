"""``python -m fuzz``."""

# Not here: processes that are spawned do not import a module of this name again.
from fuzz.running import main

if __name__ == "__main__":
    main()
