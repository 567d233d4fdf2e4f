"""What has been made, under the hash of what made it: written once, whole or not at all, by one maker at a time."""

from cftransfer.store.artifacts import artifact, load, prepare, save
from cftransfer.store.locks import hold, in_use, using

__all__ = ["artifact", "hold", "in_use", "load", "prepare", "save", "using"]
