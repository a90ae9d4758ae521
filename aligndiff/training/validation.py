"""How good a segmenter in training is: fixed episodes, segmented just as step 3 does it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from aligndiff.segmenters.base import Prototypes, SSPSegmenter
from aligndiff.segmenters.metrics import Scores
from aligndiff.segmenters.ssp.network import SSP
from aligndiff.training.pairs import Pair, Trial

FOREGROUND = 0.5  # a pixel is object above this probability


def validate(
    network: SSP,
    trials: Sequence[Trial],
    input_side: int | None,
    device: torch.device,
    dtype: torch.dtype,
) -> Scores:
    """The scores of `network`, which is left as it is. An image is encoded once."""
    segmenter = SSPSegmenter(network, input_side, device, dtype)
    prototypes: dict[Pair, Prototypes] = {}
    scores = Scores()
    for query in dict.fromkeys(trial.query for trial in trials):
        image, truth = query.read()
        (encoded,) = segmenter.encode([image])
        for trial in trials:
            if trial.query != query:
                continue
            for pair in trial.support:
                if pair not in prototypes:
                    prototypes[pair] = _pool(segmenter, pair)
            segmenter.set_support([prototypes[pair] for pair in trial.support])
            predicted = segmenter.segment(encoded) > FOREGROUND
            scores.add(query.category, predicted, truth)
    return scores


def _pool(segmenter: SSPSegmenter, pair: Pair) -> Prototypes:
    image, mask = pair.read()
    (encoded,) = segmenter.encode([image])
    return segmenter.pool(encoded, mask)
