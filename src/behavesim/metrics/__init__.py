"""Predictions to scores, baselines and plots."""
