"""A Gaussian process over tweets: what the past of an account and its company says of its next tweet."""
