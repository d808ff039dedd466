"""Processes: which one this is, how it lives and ends, and those that a sweep starts. Nothing heavy is imported."""
