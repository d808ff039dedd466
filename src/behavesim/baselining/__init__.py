"""What a model has to beat, fitted on the training rows of a split and scored on its test rows."""
