"""Everything that knows MLflow: runs of trainings and sweeps, and how they compare."""
