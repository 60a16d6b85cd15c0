"""The PostgreSQL that comes with the package: started when needed, stopped with its last user."""
