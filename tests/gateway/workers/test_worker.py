"""What belongs to all workers together is divided without a rest."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.workers.worker import Worker


@given(st.integers(1, 64), st.integers(1, 10_000))
def test_the_shares_add_up_and_differ_by_one_at_most(count: int, total: int) -> None:
    shares = [Worker("boot", index, count).share(total) for index in range(count)]
    assert max(shares) - min(shares) <= 1
    assert sum(shares) == max(total, count), "each may have one, or it could serve nothing"
