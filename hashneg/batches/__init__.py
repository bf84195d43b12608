"""Batches composed of neighbours, so that every batch holds hard negatives."""

from hashneg.batches.sampler import HardBatchSampler

__all__ = ["HardBatchSampler"]
