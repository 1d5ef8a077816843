"""The app: new photos in a browser. It makes evidence; the live page in it answers everything else."""
