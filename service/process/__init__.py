"""What every process of the service does for itself: it ends when its parent ends."""
