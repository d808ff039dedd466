"""Tensors to predictions; knows no lightning, hydra or mlflow."""
