"""The configs of a clone, shipped as cftransfer.conf: Hydra finds them as a package."""
