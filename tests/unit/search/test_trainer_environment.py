"""What a trainer process inherits."""

from __future__ import annotations

from hpo.trainers.process import trainer_environment


def test_a_trainer_gets_one_thread_and_no_secret() -> None:
    """It never talks to the database, so a password would only be one more place to read it from."""
    secrets = {"HPO_STORAGE": "postgresql://u:s3cret@h/x", "PGPASSWORD": "s3cret", "HPO_DASHBOARD_PASSWORD": "s3cret"}
    given = trainer_environment({**secrets, "OMP_NUM_THREADS": "8", "HPO_DATA_DIR": "/data"})
    assert "s3cret" not in repr(given)
    assert given["OMP_NUM_THREADS"] == "1"
    assert given["HPO_DATA_DIR"] == "/data"
