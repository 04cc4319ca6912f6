"""AC-Norm: its equations, its layer, and the way into a network and out again."""
