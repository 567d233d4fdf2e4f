"""Artifacts under the hash of their specification: written once, whole or not at all, by one process at a time."""

from cftransfer.store.artifacts import artifact, load, prepare, save
from cftransfer.store.locks import hold

__all__ = ["artifact", "hold", "load", "prepare", "save"]
