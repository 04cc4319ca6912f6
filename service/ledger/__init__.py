"""Past outcomes, and what follows from them for measures and candidates."""
