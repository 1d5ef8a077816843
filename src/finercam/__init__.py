"""finercam: why did the classifier say this class and not its look-alike?"""

__version__ = "0.1.0"
