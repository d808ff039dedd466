"""Pictures of tweets: from links, files and stored features to what a batch holds."""
