"""What a micro-step of step 1 is compared with: the networks alone, of any family."""

from __future__ import annotations

import pytest
import torch

from scripts.benchmark.inversion import learn
from scripts.benchmark.timing import clock
from scripts.tiny_families.build import build_tiny


@pytest.mark.parametrize(
    "kind", ["StableDiffusionXLPipeline", "StableDiffusion3Pipeline", "FluxPipeline"]
)
def test_denoiser_and_encoders_run_alone_on_what_step_1_gave_them(kind: str) -> None:
    torch.set_num_threads(1)
    step, bare = learn(build_tiny(kind), 1, clock(torch.device("cpu")), 64)
    assert len(step) == len(bare) == 1 and step[0] > 0 and bare[0] > 0
