"""A job's folder: written once, read everywhere."""
