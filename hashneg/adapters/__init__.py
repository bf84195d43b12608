"""What a training loop of one framework needs; ``import hashneg.adapters.torch`` and the like, on demand only."""
