"""What the workers published that they can do."""
