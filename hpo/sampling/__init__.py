"""What to try next and what to prune: Optuna's samplers and pruners on a study in memory."""
