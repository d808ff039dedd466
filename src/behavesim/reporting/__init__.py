"""The report of an evaluation: how good a model is, where it errs, and how far that can be trusted."""
