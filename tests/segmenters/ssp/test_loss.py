"""The loss of an episode against sums worked out by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from aligndiff.segmenters.ssp.loss import LossWeights, cosine_logits, cross_entropy, episode_losses
from aligndiff.segmenters.ssp.network import masked_average_pooling, ssp_logits
from aligndiff.training.recipe import step_decay


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_cross_entropy_by_hand() -> None:
    """Logits (background, foreground) of four pixels; the loss of one is log(1 + exp(-margin))."""
    logits = torch.tensor([[[[2.0, 0.0], [1.0, 5.0]], [[0.0, 3.0], [1.0, 0.0]]]])
    masks = torch.tensor([[[0, 1], [1, 255]]], dtype=torch.uint8)
    wanted = (softplus(-2) + softplus(-3) + softplus(0)) / 3
    assert cross_entropy(logits, masks).item() == pytest.approx(wanted, rel=1e-5)
    assert cross_entropy(logits, torch.full_like(masks, 255)).item() == 0


def test_every_image_counts_alike_however_much_of_it_is_ignored() -> None:
    logits = torch.zeros(2, 2, 4, 4)
    logits[1, 1] = 3
    masks = torch.zeros(2, 4, 4, dtype=torch.uint8)
    masks[1, 1:] = 255
    losses = cross_entropy(logits, masks)
    assert losses.tolist() == pytest.approx([math.log(2), softplus(3)], rel=1e-5)


def perpendicular_episode() -> tuple[torch.Tensor, torch.Tensor]:
    """One support, one query; object cells are (1, 0), background cells (0, 1) in feature space."""
    mask = torch.zeros(1, 2, 8, 8, dtype=torch.uint8)
    mask[:, 0, :4], mask[:, 1, 4:] = 1, 1
    features = torch.stack([mask == 1, mask == 0], dim=2).float()
    return features, mask


def test_a_perfect_episode_by_hand() -> None:
    """All prototypes are the axes themselves: every margin is 10, in every term."""
    features, masks = perpendicular_episode()
    loss = episode_losses(features, masks, LossWeights())
    assert loss.item() == pytest.approx(3.2 * softplus(-10), rel=1e-2)
    only_rounds = episode_losses(features, masks, LossWeights(0.4, 0, 0))
    assert only_rounds.item() == pytest.approx(1.4 * softplus(-10), rel=1e-2)


def test_a_wrong_support_costs_the_rounds_and_not_the_terms_of_the_images_themselves() -> None:
    """With the support's mask turned round the query is segmented the wrong way round."""
    features, masks = perpendicular_episode()
    masks[:, 0] = 1 - masks[:, 0]
    own = 1.2 * softplus(-10)
    both = episode_losses(features, masks, LossWeights()).item() - own
    assert both == pytest.approx(2 * softplus(10), rel=1e-2)


def test_terms_of_random_episodes_add_up() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 4, 8, 6, 5)
    masks = (torch.rand(3, 4, 12, 10) < 0.4).to(torch.uint8)
    masks[0, 1, :3] = 255
    pool = partial(masked_average_pooling, features.flatten(0, 1))
    flat = masks.flatten(0, 1)
    fg, bg = (pool(flat == label).unflatten(0, (3, 4)) for label in (1, 0))
    out1, out2 = ssp_logits(features[:, -1], fg[:, :3].mean(1), bg[:, :3].mean(1))
    wanted = sum(cross_entropy(out, masks[:, -1]) for out in (out1, out2))
    wanted = wanted + cross_entropy(cosine_logits(features[:, 3], fg[:, 3], bg[:, 3]), masks[:, 3])
    for k in range(3):
        own = cosine_logits(features[:, k], fg[:, k], bg[:, k])
        wanted = wanted + 0.2 / 3 * cross_entropy(own, masks[:, k])
    assert torch.allclose(episode_losses(features, masks, LossWeights()), wanted)


def test_the_rate_falls_in_thirds() -> None:
    rates = [step_decay(step, 9) for step in range(9)]
    assert rates == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])
