"""Failures a minute: what counts as one address."""

from __future__ import annotations

import pytest

from influxops_web.security.rate_limits import FailureRateLimit


def test_addresses_of_one_ipv6_network_count_together() -> None:
    limit = FailureRateLimit(3)
    addresses = [f"2001:db8:1:2::{number:x}" for number in range(1, 5)]
    assert [bool(limit.fail(address)) for address in addresses] == [False, False, False, True]
    assert not limit.fail("2001:db8:1:3::1")


@pytest.mark.parametrize("other", ["::ffff:203.0.113.1", "203.0.113.1"])
def test_an_ipv4_address_counts_for_itself_however_it_is_written(other: str) -> None:
    limit = FailureRateLimit(1)
    assert not limit.fail("203.0.113.1")
    assert limit.fail(other)
    assert not limit.fail("203.0.113.2")


def test_all_addresses_together_have_a_limit_too() -> None:
    limit = FailureRateLimit(1)
    waits = [bool(limit.fail(f"203.0.{n // 200}.{n % 200}")) for n in range(31)]
    assert waits == [False] * 30 + [True]
