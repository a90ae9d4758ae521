"""Reading and writing beside the computation, in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch_map(
    function: Callable[[Item], Result], items: Iterable[Item], ahead: int, threads: int = 1
) -> Iterator[Result]:
    """`function(item)` for each of `items`, in order, while the caller does something else.

    Items are taken in the caller's own thread, up to `ahead` of them before their results are asked
    for. What `function` raises is raised here, in its turn; so is what taking an item raises, and
    whatever was begun is brought to its end before.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
