"""Do a classifier's maps depend on the class that is asked about, and on what the network has learned?

Both checks compare maps of one image with each other; neither knows what a good map looks like, and a map of pure
noise passes both. They are there to be failed.
"""
