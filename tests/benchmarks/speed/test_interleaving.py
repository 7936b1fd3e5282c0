"""Variants take turns, and ratios are taken round by round."""

from partnerface.benchmarks.speed.interleaving import Duration, duration_of, interleaved, ratios


def test_variants_take_turns():
    order = []

    def variant(name: str):
        def measure() -> Duration:
            order.append(name)
            return Duration(len(order), 10 * len(order))

        return measure

    found = interleaved({"a": variant("a"), "b": variant("b")}, 3)
    assert order == ["a", "b"] * 3
    assert [d.wall for d in found["a"]] == [1, 3, 5]
    assert [d.cpu for d in found["b"]] == [20, 40, 60]


def test_a_busy_round_cancels_in_the_ratio():
    """The machine is three times slower in the second round; the ratio is two all the same."""
    assert ratios([4.0, 12.0, 4.0], [2.0, 6.0, 2.0]) == [2.0, 2.0, 2.0]


def test_shares_and_sums():
    assert Duration(6.0, 4.0).per(2) == Duration(3.0, 2.0)
    assert Duration(6.0, 4.0).plus(Duration(1.0, 0.5)) == Duration(7.0, 4.5)


def test_work_is_run_once():
    calls = []
    taken = duration_of(lambda: calls.append(1))
    assert calls == [1]
    assert taken.wall >= 0
    assert taken.cpu >= 0
