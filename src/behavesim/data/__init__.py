"""Tables to batches."""
