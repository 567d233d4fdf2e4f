"""Data sets: tensors in one fixed input space in [0, 1], with a description of the features."""
