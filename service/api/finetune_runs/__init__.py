"""Finetune runs: training one candidate on the target."""
