"""``python -m finercam``."""

from finercam.cli.main import main

if __name__ == "__main__":
    main()
