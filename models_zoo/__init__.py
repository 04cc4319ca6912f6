"""The zoo: architectures, safe checkpoint loading, and cards; knows nobody."""
