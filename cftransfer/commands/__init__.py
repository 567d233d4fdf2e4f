"""Commands: what Hydra composes is planned and run; everything that knows Hydra."""
