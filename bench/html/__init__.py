"""The results as one HTML file: nothing is fetched, nothing runs, and it reads well on a phone."""

from .page import render, write

__all__ = ["render", "write"]
