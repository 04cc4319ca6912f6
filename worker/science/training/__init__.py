"""Training: one loop with an objective, finetune methods, pretext recipes."""
