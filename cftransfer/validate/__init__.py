"""The library checks itself."""
