"""Self-support of one query against loops over cells, and rounds that go on from earlier ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from aligndiff.segmenters.ssp import self_support as module
from aligndiff.segmenters.ssp.self_support import self_support, similarity


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def scene(seed: int, n: int = 40, c: int = 7):
    """Cells around two directions, float64 (n, c), the directions of the cells, two prototypes."""
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(2, c))
    is_object = rng.random(n) < 0.3
    cells = torch.from_numpy(3 * prototypes[is_object * 1] + rng.normal(size=(n, c)))
    background, foreground = torch.from_numpy(prototypes)
    return cells, F.normalize(cells, dim=1), foreground, background


def cosine(x: np.ndarray, y: np.ndarray) -> float:
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def slow_background(cells: np.ndarray, sure: list[int]) -> np.ndarray:
    """Each cell's background prototype, by its definition."""
    rows = []
    for cell in cells:
        powers = [np.exp(2 * cosine(cell, cells[i])) for i in sure]
        local = sum(p * cells[i] for p, i in zip(powers, sure, strict=True)) / sum(powers)
        rows.append(0.3 * cells[sure].mean(axis=0) + 0.7 * local)
    return np.array(rows)


def logits_for(is_background: list[bool]) -> torch.Tensor:
    """Logits that make the cells surely background, or surely object."""
    return torch.tensor([[5.0, -5.0] if one else [-5.0, 5.0] for one in is_background]).double()


def test_similarity_is_ten_times_the_cosines():
    cells, directions, foreground, background = scene(seed=0)
    own = cells.flip(0)  # a prototype of each cell's own
    got = similarity(directions, foreground, own)
    for i, (cell, other) in enumerate(zip(cells.numpy(), own.numpy(), strict=True)):
        wanted = 10 * cosine(cell, other), 10 * cosine(cell, foreground.numpy())
        np.testing.assert_allclose(got[i], wanted, atol=1e-12)


def test_self_support_equals_loops_over_the_cells():
    cells, directions, foreground, background = scene(seed=1)
    logits = similarity(directions, foreground, background)
    own, backgrounds, _ = self_support(cells, directions, logits)
    share = logits.softmax(dim=1).numpy()
    sure_object, sure = share[:, 1] > 0.7, list(np.flatnonzero(share[:, 0] > 0.6))
    assert sure_object.any() and 5 < len(sure) < 35
    np.testing.assert_allclose(own, cells.numpy()[sure_object].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(backgrounds, slow_background(cells.numpy(), sure), atol=1e-12)


def test_without_a_sure_cell_the_12_surest_stand_in():
    cells, directions, *_ = scene(seed=2)
    logits = torch.linspace(-0.1, 0.1, 40).double()
    _, backgrounds, _ = self_support(cells, directions, torch.stack([logits, -logits], dim=1))
    wanted = slow_background(cells.numpy(), list(range(28, 40)))
    np.testing.assert_allclose(backgrounds, wanted, atol=1e-12)


# A few cells that joined and left are summed alone; when more changed than are sure now, all are.
@pytest.mark.parametrize(("now", "summed"), [(range(3, 33), 6), (range(28, 38), 10)])
@pytest.mark.parametrize("at_once", [7, 1000])
def test_a_round_that_goes_on_from_the_earlier_one_equals_one_from_the_start(
    now, summed, at_once, monkeypatch
):
    monkeypatch.setattr(module, "CELLS_AT_ONCE", at_once)
    cells, directions, *_ = scene(seed=3)
    first = logits_for([i < 30 for i in range(40)])
    second = logits_for([i in now for i in range(40)])
    *_, sums = self_support(cells, directions, first)
    shapes = []

    class Counted(torch.Tensor):
        def __matmul__(self, other):
            shapes.append(tuple(other.shape))
            return super().__matmul__(other)

    counted = directions.as_subclass(Counted)
    own, backgrounds, _ = self_support(cells, counted, second, sums)
    wanted_own, wanted, _ = self_support(cells, directions, second)
    torch.testing.assert_close(own, wanted_own)
    torch.testing.assert_close(backgrounds.as_subclass(torch.Tensor), wanted)
    assert shapes[0] == (7, summed), "the cells that the attention went over"


def test_products_in_16_bits_change_the_background_by_their_rounding_only():
    cells, directions, foreground, background = scene(seed=4)
    logits = similarity(directions, foreground, background)
    rounded, exact = (
        self_support(cells.float(), directions.float(), logits.float(), dtype=dtype)[1]
        for dtype in (torch.bfloat16, None)
    )
    assert rounded.dtype == torch.float32
    difference = (rounded - exact).abs().max() / exact.abs().max()
    assert 0 < difference < 2**-6, "eight bits of each number, of sums of up to forty"


def test_sums_over_more_cells_than_float16_can_count_stay_finite():
    """An image above 1024 px: thousands of sure background cells, each counting up to e^2."""
    cells = 4 * scene(seed=5, n=12_000)[0].float()
    directions, logits = F.normalize(cells, dim=1), logits_for([True] * len(cells)).float()
    rounded, exact = (
        self_support(cells, directions, logits, dtype=dtype)[1] for dtype in (torch.float16, None)
    )
    assert len(cells) * np.exp(2) > torch.finfo(torch.float16).max
    assert rounded.isfinite().all()
    assert (rounded - exact).abs().max() / exact.abs().max() < 2**-8
