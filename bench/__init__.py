"""The benchmark: `wsasec bench`."""
