"""What Hydra composes; ships inside the wheel as cftransfer.conf."""
