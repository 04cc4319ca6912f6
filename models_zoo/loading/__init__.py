"""Reading a checkpoint safely and putting its tensors into a network."""
