"""Which trial trains next: a paused one, or a new one, and up to which epoch. Decisions only; nothing is stored."""
