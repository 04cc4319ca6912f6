"""Datasets: what is ranked for."""
