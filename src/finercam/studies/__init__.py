"""What a person runs over a data set, one file each."""
