"""Past outcomes, and what they say of measures and candidates."""
