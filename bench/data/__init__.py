"""Datasets: uint8 images of one resolution, split into a train and a test pool, with a content hash."""
