"""One coordinator per host: asks Optuna, talks to Postgres, holds leases, drives trainers. Never imports torch."""
