"""One coordinator on every node of a Ray cluster."""
