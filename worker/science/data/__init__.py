"""The target dataset: reading, validation, splits, batches, and which voxels are looked at."""
