"""Models: (n, *input) in [0, 1] → (n,) logits of class 1, and the LightningModule that trains a population."""
