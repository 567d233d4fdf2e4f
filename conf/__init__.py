"""The configs that Hydra composes; they ship inside the wheel as cftransfer.conf."""
