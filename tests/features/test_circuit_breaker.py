import pytest

from features.circuit_breaker import CircuitBreaker
from features.errors import StoreUnavailable


def test_the_breaker_rests_after_a_failure_and_asks_again_later() -> None:
    now = [100.0]
    breaker = CircuitBreaker(rest=1.0, clock=lambda: now[0])

    def fail() -> None:
        with breaker.guard():
            raise StoreUnavailable("down")

    with pytest.raises(StoreUnavailable, match="down"):
        fail()
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        fail()
    now[0] += 1.5
    with pytest.raises(StoreUnavailable, match="down"):
        fail()
