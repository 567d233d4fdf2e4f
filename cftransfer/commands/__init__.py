"""The commands: what Hydra composes becomes plans, jobs and sweeps."""
