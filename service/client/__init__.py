"""The user's side: an HTTP client for scripts, the terminal, words for people, and rows from files."""
