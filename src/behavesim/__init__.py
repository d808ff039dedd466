"""behavesim: simulate how an audience responds to a post."""

__version__ = "0.1.0"
