"""Reading a study that stands in a database: its trials, and the best of them."""
