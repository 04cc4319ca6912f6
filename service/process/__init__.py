"""What a process does for itself: it ends with its parent, and it knows whether its packages are installed."""
