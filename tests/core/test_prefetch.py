"""Results in order, errors in their turn, no more than asked for in flight."""

from __future__ import annotations

import threading

import pytest

from aligndiff.core.prefetch import prefetch_map


@pytest.mark.parametrize(("ahead", "threads"), [(0, 1), (2, 1), (5, 3), (100, 2)])
def test_results_come_in_the_order_of_the_items(ahead, threads):
    assert list(prefetch_map(str, range(20), ahead, threads)) == [str(i) for i in range(20)]


def test_it_works_in_another_thread_and_takes_items_in_this_one():
    here = threading.get_ident()

    def items():
        assert threading.get_ident() == here
        yield 1

    assert list(prefetch_map(lambda _: threading.get_ident(), items(), 1)) != [here]


def test_no_more_items_are_taken_than_asked_for():
    taken = []

    def items():
        for i in range(10):
            taken.append(i)
            yield i

    results = prefetch_map(lambda i: i, items(), ahead=3)
    assert taken == [] and next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert next(results) == 1 and taken == [0, 1, 2, 3, 4]


def test_an_error_is_raised_in_its_turn_and_what_was_begun_ends():
    done = []

    def work(i):
        if i == 1:
            raise OSError("disk full")
        done.append(i)
        return i

    results = prefetch_map(work, range(10), ahead=2)
    assert next(results) == 0
    with pytest.raises(OSError, match="disk full"):
        next(results)
    assert done == [0, 2, 3]


def test_an_error_while_taking_an_item_lets_the_others_end():
    done = []

    def items():
        yield from (1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(prefetch_map(done.append, items(), ahead=5))
    assert done == [1, 2]
