"""Which process a worker is."""

from __future__ import annotations

from hpo.search.identity import own_identity


def test_a_coordinator_has_one_worker_id_for_all_it_does_and_no_two_have_the_same() -> None:
    """The id it opens the study with is the one it renews its leases under, and the one its trials record."""
    identity = own_identity()
    assert identity.worker_id == identity.worker_id
    assert identity.worker_id != own_identity().worker_id
    assert "worker_id" not in identity.as_json()
