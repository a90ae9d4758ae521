"""Eq. 3 against values computed by hand."""

from __future__ import annotations

import pytest
import torch

from aligndiff.inversion.loss import normalized_masked_loss


def masks(*rows: str) -> tuple[torch.Tensor, torch.Tensor]:
    """One sample of one row of cells per string: o object, . background, x ignore."""
    cells = [[list(row)] for row in rows]
    return (
        torch.tensor([[[c == "o" for c in line] for line in s] for s in cells]),
        torch.tensor([[[c == "." for c in line] for line in s] for s in cells]),
    )


def test_loss_by_hand() -> None:
    # Two channels, three cells: squared errors 1 and 9 | 0 and 4 | 16 and 0, means 5 | 2 | 8.
    prediction = torch.tensor([[[[1.0, 0.0, 4.0]], [[3.0, 2.0, 0.0]]]])
    loss = normalized_masked_loss(prediction, torch.zeros(1, 2, 1, 3), *masks("o.."), 0.6)
    assert loss.item() == pytest.approx(5 + 0.6 * (2 + 8) / 2)


def test_loss_counts_a_region_by_its_own_area() -> None:
    error = torch.ones(1, 1, 1, 4)
    losses = [normalized_masked_loss(error, 0 * error, *masks(m), 0.5) for m in ("o...", "ooo.")]
    assert [loss.item() for loss in losses] == pytest.approx([1.5, 1.5])


def test_loss_weights_each_sample_under_its_own_mask() -> None:
    """The original weighted a whole batch with its first sample's mask."""
    prediction = torch.tensor([[[[2.0, 0.0, 0.0]]], [[[2.0, 0.0, 0.0]]]])
    both = normalized_masked_loss(prediction, 0 * prediction, *masks("o..", "..o"), 0.6)
    # Under "o..": 4 + 0.6 * 0. Under "..o": 0 + 0.6 * (4 + 0) / 2.
    assert both.item() == pytest.approx((4 + 1.2) / 2)


def test_loss_leaves_ignored_cells_out() -> None:
    prediction = torch.tensor([[[[1.0, 2.0, 100.0]]]])
    loss = normalized_masked_loss(prediction, 0 * prediction, *masks("o.x"), 0.5)
    assert loss.item() == pytest.approx(1 + 0.5 * 4)


@pytest.mark.parametrize(("mask", "expected"), [("oo", 5.0), ("..", 2.5), ("xx", 0.0)])
def test_loss_of_an_empty_region_is_zero(mask: str, expected: float) -> None:
    prediction = torch.tensor([[[[1.0, 3.0]]]], requires_grad=True)
    loss = normalized_masked_loss(prediction, torch.zeros(1, 1, 1, 2), *masks(mask), 0.5)
    loss.backward()
    assert loss.item() == pytest.approx(expected)
    assert prediction.grad is not None and prediction.grad.isfinite().all()


def test_loss_is_float32_at_half_precision() -> None:
    prediction = torch.full((1, 1, 1, 2), 300.0, dtype=torch.float16)  # 300^2 is no float16
    loss = normalized_masked_loss(prediction, 0 * prediction, *masks("o."), 1.0)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(180000)
