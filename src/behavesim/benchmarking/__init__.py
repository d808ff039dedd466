"""How fast a model is: what `benchmark` measures, and how it says so."""
