"""Coordinates of the drawings on the pages: pure functions of numbers; the templates draw."""
