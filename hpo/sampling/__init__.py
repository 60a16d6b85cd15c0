"""What to try next and what to end: samplers and pruners of Optuna on a study in memory."""
