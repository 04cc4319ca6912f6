"""Reading files that nobody vouches for: opened once inside the roots, and read in a process of their own."""
