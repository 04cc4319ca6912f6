"""One measure of transferability a file; each registers its score function."""
