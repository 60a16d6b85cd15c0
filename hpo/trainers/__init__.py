"""Running trainers on devices: for a search, an evaluation, a reproduction, a check."""
