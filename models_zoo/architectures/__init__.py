"""One architecture a file; each registers its build function."""
