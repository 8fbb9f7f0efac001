"""The key daemon: what `wsasec up` starts."""
