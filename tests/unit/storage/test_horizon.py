"""How far a reader of changes has read, while transactions begin and commit in different orders."""

from __future__ import annotations

from hpo.storage.changes import Horizon


def test_a_transaction_that_commits_after_a_later_one_is_not_passed_over() -> None:
    """5 began first and commits last: what it changed has the lower number, and is read all the same."""
    read, horizon = Horizon(3).advance(5, [(10, 3), (11, 4), (12, 6)])
    assert (read, horizon.ended) == ([10, 11, 12], 5)
    read, horizon = horizon.advance(7, [(20, 5), (12, 6)])
    assert (read, horizon.ended) == ([20], 7)


def test_what_was_committed_beyond_the_oldest_is_read_once_and_again_only_if_it_changed() -> None:
    _, horizon = Horizon(3).advance(3, [(10, 4), (11, 5)])
    read, horizon = horizon.advance(3, [(10, 4), (11, 8)])
    assert read == [11]
    assert horizon.beyond == {10: 4, 11: 8}
    read, horizon = horizon.advance(9, [(10, 4), (11, 8)])
    assert (read, dict(horizon.beyond)) == ([], {})


def test_after_an_outage_what_was_read_last_is_read_again() -> None:
    """A server that crashed may give the numbers of transactions that it lost to new ones."""
    horizon = Horizon(50_000, {7: 50_003}).after_an_outage()
    read, _ = horizon.advance(50_010, [(1, 49_999), (7, 50_003)])
    assert read == [1, 7]
    assert 0 < horizon.ended < 49_999
    assert Horizon(5).after_an_outage().ended == 0
