"""The declaration of a study: data that prints, compares and refuses mistakes. Imports neither torch nor optuna."""
