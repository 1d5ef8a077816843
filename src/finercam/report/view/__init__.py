"""The live view: an explanation that can be asked again, in a browser, without a server."""
