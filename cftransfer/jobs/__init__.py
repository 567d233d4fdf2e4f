"""A job's folder: written once, read everywhere. No other wing knows the names of its files."""
