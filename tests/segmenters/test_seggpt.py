"""SegGPT behind the protocol is the library's own model and processor, to rounding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter, load_segmenter

PAIRS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SegGPT with random weights, as a folder of transformers."""
    from transformers import SegGptConfig, SegGptForImageSegmentation, SegGptImageProcessor

    folder = tmp_path_factory.mktemp("seggpt") / "tiny"
    config = SegGptConfig(
        **{"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_dim": 64},
        **{"image_size": [64, 32], "patch_size": 8, "pretrain_image_size": 32, "merge_index": 0},
        **{"decoder_hidden_size": 8, "intermediate_hidden_state_indices": [1, 2, 3]},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SegGptForImageSegmentation(config).save_pretrained(folder)
    SegGptImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def pictures(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 40, 50, 3), dtype=np.uint8)
    return [(image, (rng.random((40, 50)) > 0.5).astype(np.uint8)) for image in images]


def test_it_answers_as_the_library_does(folder: Path) -> None:
    from transformers import SegGptForImageSegmentation, SegGptImageProcessor

    (query, _), *support = pictures(1 + PAIRS)
    choice = choose_segmenter(SegmenterOptions("seggpt", segmenter_model=str(folder)))
    segmenter = load_segmenter(choice, "cpu", "float32")
    seen, *encoded = segmenter.encode([query, *(image for image, _ in support)])
    segmenter.set_support(
        [segmenter.describe(e, mask) for e, (_, mask) in zip(encoded, support, strict=True)]
    )
    probability = segmenter.segment(seen)

    model = SegGptForImageSegmentation.from_pretrained(folder).eval()
    processor = SegGptImageProcessor.from_pretrained(folder)
    inputs = processor(
        images=[Image.fromarray(query)] * PAIRS,
        prompt_images=[Image.fromarray(image) for image, _ in support],
        prompt_masks=[Image.fromarray(mask) for _, mask in support],
        num_labels=1,
        return_tensors="pt",
    )
    with torch.inference_mode():
        outputs = model(**inputs, feature_ensemble=True)
    said = processor.post_process_semantic_segmentation(
        outputs, [(40, 50)] * PAIRS, num_labels=1, return_segmentation_scores=True
    )[0]
    black, white = -said.segmentation_scores.numpy()
    assert probability.shape == (40, 50) and probability.dtype == np.float32
    np.testing.assert_allclose(probability, black / (black + white), atol=1e-5)
    agree = (probability > 0.5) == said.segmentation.numpy().astype(bool)
    assert agree[np.abs(probability - 0.5) > 1e-5].all()
    assert np.ptp(probability) > 0.01  # so that there is something to agree on


def test_a_heavy_pair_is_a_prompt_before_a_light_one(folder: Path) -> None:
    from aligndiff.segmenters.seggpt.segmenter import PROMPTS_AT_MOST

    choice = choose_segmenter(SegmenterOptions("seggpt", segmenter_model=str(folder)))
    segmenter = load_segmenter(choice, "cpu", "float32")
    pairs = pictures(PROMPTS_AT_MOST + 2)
    items = [
        segmenter.describe(e, mask)
        for e, (_, mask) in zip(segmenter.encode([i for i, _ in pairs]), pairs, strict=True)
    ]
    (query,) = segmenter.encode([pairs[0][0]])
    segmenter.set_support(items, [0.1, 0.1] + [1.0] * PROMPTS_AT_MOST)
    weighted = segmenter.segment(query)
    segmenter.set_support(items[2:])
    np.testing.assert_allclose(weighted, segmenter.segment(query), atol=1e-6)


def test_records_and_mistakes(folder: Path, tmp_path: Path) -> None:
    choice = choose_segmenter(SegmenterOptions("seggpt", segmenter_model=str(folder)))
    assert choice.identity.startswith("seggpt tiny ")
    named = choose_segmenter(SegmenterOptions("seggpt"))
    assert named.identity == "seggpt BAAI/seggpt-vit-large"
    with pytest.raises(MissingWeightsError, match="BAAI/seggpt-vit-large .*HF_HUB_OFFLINE is set"):
        load_segmenter(named, "cpu", "float32")
    with pytest.raises(MissingWeightsError, match="gone.*no such folder"):
        choose_segmenter(SegmenterOptions("seggpt", segmenter_model="gone"))
    with pytest.raises(InputError, match="the folder has no config.json"):
        choose_segmenter(SegmenterOptions("seggpt", segmenter_model=str(tmp_path)))
