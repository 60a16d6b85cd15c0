"""How often a login may be tried."""

from __future__ import annotations

import pytest

from hpo.dashboard.attempts import IN_ALL, MOST_ADDRESSES, PER_ADDRESS, Attempts, TooManyAttempts


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def tries(attempts: Attempts, address: str) -> int:
    """How many it has."""
    for number in range(1000):
        try:
            attempts.spend(address)
        except TooManyAttempts:
            return number
    return 1000


def test_an_address_has_five_and_one_more_every_twelve_seconds(attempts: Attempts, clock: Clock) -> None:
    assert tries(attempts, "10.0.0.1") == PER_ADDRESS[0]
    with pytest.raises(TooManyAttempts) as caught:
        attempts.spend("10.0.0.1")
    assert caught.value.seconds == PER_ADDRESS[1]
    clock.now += PER_ADDRESS[1]
    assert tries(attempts, "10.0.0.1") == 1
    assert tries(attempts, "10.0.0.2") == PER_ADDRESS[0]


def test_many_addresses_have_twenty_and_one_more_every_second(attempts: Attempts, clock: Clock) -> None:
    assert sum(tries(attempts, f"10.0.{number}.1") for number in range(50)) == IN_ALL[0]
    clock.now += 3 * IN_ALL[1]
    assert sum(tries(attempts, f"10.1.{number}.1") for number in range(50)) == 3


def test_whoever_has_a_network_of_ipv6_has_one_address(attempts: Attempts) -> None:
    assert sum(tries(attempts, f"2001:db8::{number:x}") for number in range(9)) == PER_ADDRESS[0]
    assert tries(attempts, "2001:db8:0:1::1%eth0") == PER_ADDRESS[0]
    assert tries(attempts, "::ffff:10.0.0.1") == PER_ADDRESS[0]
    assert tries(attempts, "10.0.0.1") == 0


def test_an_address_that_has_logged_in_is_not_held_up_by_others(attempts: Attempts) -> None:
    attempts.spend("10.0.0.1")
    attempts.succeeded("10.0.0.1")
    assert sum(tries(attempts, f"10.0.{number}.9") for number in range(50)) == IN_ALL[0]
    assert tries(attempts, "10.0.0.1") == PER_ADDRESS[0]
    assert attempts.knows("10.0.0.1")
    assert not attempts.knows("10.0.0.9")


def test_a_refusal_is_the_first_once(attempts: Attempts) -> None:
    """Then it is worth a line in the log."""
    tries(attempts, "10.0.0.1")
    with pytest.raises(TooManyAttempts) as caught:
        attempts.spend("10.0.0.1")
    assert not caught.value.first


def test_no_number_of_addresses_fills_the_memory(attempts: Attempts) -> None:
    for number in range(2 * MOST_ADDRESSES):
        tries(attempts, f"10.{number >> 8}.{number & 255}.1")
    assert len(attempts._of) == MOST_ADDRESSES


def test_no_number_of_addresses_that_have_logged_in_does_either(attempts: Attempts) -> None:
    for number in range(MOST_ADDRESSES + 5):
        attempts.succeeded(f"10.0.{number >> 8}.{number & 255}")
    assert len(attempts._known) == MOST_ADDRESSES
    assert attempts.knows("10.0.16.4")
    assert not attempts.knows("10.0.0.4")
