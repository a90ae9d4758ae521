"""SAM 3 behind the protocol is the library's own processor and model; the picture it is asked with.

What needs torchvision (the extra `sam3`) is skipped without it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aligndiff.core.errors import InputError, MissingWeightsError
from aligndiff.dataset.images import resize_image
from aligndiff.segmenters.load import SegmenterOptions, choose_segmenter, load_segmenter
from aligndiff.segmenters.prompts import PromptPair
from aligndiff.segmenters.sam3.collage import box_of, compose, panes
from tests.conftest import _tokenizer

try:
    import torchvision.ops  # noqa: F401
except Exception as reason:  # one that is not made for this torch fails in its own ways
    WITHOUT = str(reason)
else:
    WITHOUT = ""
needs_torchvision = pytest.mark.skipif(bool(WITHOUT), reason=f"torchvision: {WITHOUT}")

SIDE = 112
SIZE = 40, 50  # (h, w) of every image


def pictures(count: int) -> list[PromptPair]:
    """Noise with a bright rectangle each, which is the object."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        image = rng.integers(0, 120, (*SIZE, 3), dtype=np.uint8)
        mask = np.zeros(SIZE, np.uint8)
        mask[5 + number : 20 + number, 10:30] = 1
        image[mask > 0] = (250, 40 * number, 90)
        pairs.append(PromptPair(image, mask))
    return pairs


@pytest.mark.parametrize("pairs", [1, 2, 3, 5])
def test_places_lie_beside_each_other_within_the_picture(pairs: int) -> None:
    taken = np.zeros((100, 100), int)
    support, query = panes(pairs, 100)
    assert len(support) == pairs
    for pane in (*support, query):
        taken[pane.within] += 1
        assert pane.left + pane.width <= 100 and pane.top + pane.height <= 100
    assert taken.max() == 1 and taken[query.within].size >= 100 * 40
    if pairs in (1, 5):
        assert taken.min() == 1  # nothing is left


def test_a_lone_pair_lies_above_with_its_box_scaled_into_the_picture() -> None:
    (pair, query) = pictures(2)
    collage = compose([pair], query.image, 100)
    assert np.array_equal(collage.image[:60], resize_image(pair.image, (60, 100)))
    assert np.array_equal(collage.image[60:], resize_image(query.image, (40, 100)))
    assert box_of(pair.mask) == (10, 5, 30, 20)
    assert collage.boxes == (pytest.approx((20, 7.5, 60, 30)),)
    left, top, right, bottom = map(round, collage.boxes[0])
    assert collage.image[top + 2 : bottom - 2, left + 2 : right - 2, 0].min() > 200
    empty = PromptPair(pair.image, np.zeros(SIZE, np.uint8))
    assert compose([empty], query.image, 100).boxes == ()


def test_without_torchvision_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="sam3: needs torchvision.* pip install '.\\[sam3\\]'"):
        choose_segmenter(SegmenterOptions("sam3"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SAM 3 with random weights, as a folder of transformers."""
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model, Sam3Processor

    folder = tmp_path_factory.mktemp("sam3") / "tiny"
    small = {"hidden_size": 32, "num_attention_heads": 4}
    layers = {**small, "num_layers": 2, "intermediate_size": 32, "dropout": 0.0}
    backbone = {**small, "model_type": "sam3_vit_model", "num_hidden_layers": 2}
    backbone |= {"intermediate_size": 32, "image_size": SIDE, "pretrain_image_size": 56}
    backbone |= {"window_size": 4, "global_attn_indexes": [1]}
    cells = SIDE // 14
    tokenizer = _tokenizer()
    config = Sam3Config(
        vision_config={
            "backbone_config": backbone,
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[cells * scale] * 2 for scale in (4, 2, 1)],
        },
        text_config={
            **{**small, "model_type": "clip_text_model", "intermediate_size": 32},
            **{"vocab_size": len(tokenizer), "num_hidden_layers": 1, "projection_dim": 16},
            **{"max_position_embeddings": 32},
        },
        geometry_encoder_config=layers,
        detr_encoder_config=layers,
        detr_decoder_config={**layers, "num_queries": 6},
        mask_decoder_config={**small, "num_upsampling_stages": 3},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Sam3Model(config)
        for parameter in model.parameters():  # at the library's own scale all answers are alike
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    Sam3Processor(Sam3ImageProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


@needs_torchvision
@pytest.mark.parametrize("shots", [1, 3])
def test_it_answers_as_the_library_does(folder: Path, shots: int) -> None:
    from transformers import Sam3Model, Sam3Processor

    *support, query = pictures(shots + 1)
    choice = choose_segmenter(SegmenterOptions("sam3", segmenter_model=str(folder)))
    segmenter = load_segmenter(choice, "cpu", "float32")
    *encoded, seen = segmenter.encode([pair.image for pair in (*support, query)])
    segmenter.set_support(
        [segmenter.describe(one, pair.mask) for one, pair in zip(encoded, support, strict=True)]
    )

    model, processor = (
        Sam3Model.from_pretrained(folder).eval(),
        Sam3Processor.from_pretrained(folder),
    )
    collage = compose(support, query.image, SIDE)
    inputs = processor(
        images=Image.fromarray(collage.image),
        input_boxes=[[list(box) for box in collage.boxes]],
        return_tensors="pt",
    )
    assert (inputs["input_boxes_labels"] == 1).all()
    with torch.inference_mode():
        outputs = model(**inputs)
        by_text = model(**{k: v for k, v in inputs.items() if not k.startswith("input_boxes")})
    assert (outputs.pred_logits - by_text.pred_logits).abs().max() > 1e-3  # the boxes tell it
    scores = (outputs.pred_logits.sigmoid() * outputs.presence_logits.sigmoid())[0]
    segmenter.least_score = float(scores.median())
    (told,) = processor.post_process_instance_segmentation(
        outputs, threshold=segmenter.least_score, target_sizes=[(SIDE, SIDE)]
    )
    expected = told["masks"].amax(0).numpy().astype(bool)
    probability = segmenter.probability(collage)
    sure = np.abs(probability - 0.5) > 1e-5
    assert 1 < len(told["masks"]) < 6 and 0.05 < expected.mean() < 0.95
    assert np.array_equal((probability > 0.5)[sure], expected[sure])

    answer = segmenter.segment(seen)
    assert answer.shape == SIZE and answer.dtype == np.float32
    part = probability[collage.query.within]
    assert part.min() - 1e-6 <= answer.min() and answer.max() <= part.max() + 1e-6
    small = np.array(Image.fromarray((answer > 0.5).astype(np.uint8)).resize(part.shape[::-1], 0))
    assert (small == (part > 0.5)).mean() > 0.9


@needs_torchvision
def test_nothing_named_and_nothing_shown_are_no_object(folder: Path) -> None:
    pair, query = pictures(2)
    choice = choose_segmenter(SegmenterOptions("sam3", segmenter_model=str(folder)))
    segmenter = load_segmenter(choice, "cpu", "float32")
    one, seen = segmenter.encode([pair.image, query.image])
    with pytest.raises(RuntimeError, match="call set_support"):
        segmenter.segment(seen)
    segmenter.set_support([segmenter.describe(one, pair.mask)])
    segmenter.least_score = 1.0
    assert not segmenter.segment(seen).any()
    segmenter.set_support([segmenter.describe(one, np.zeros(SIZE, np.uint8))])
    segmenter.least_score = 0.0
    assert not segmenter.segment(seen).any()


@needs_torchvision
def test_records_and_mistakes(folder: Path, tmp_path: Path) -> None:
    choice = choose_segmenter(SegmenterOptions("sam3", segmenter_model=str(folder)))
    assert choice.identity.startswith("sam3 tiny ")
    named = choose_segmenter(SegmenterOptions("sam3"))
    assert named.identity == "sam3 facebook/sam3"
    with pytest.raises(MissingWeightsError, match="facebook/sam3 .*ask for them on the hub's page"):
        load_segmenter(named, "cpu", "float32")
    with pytest.raises(MissingWeightsError, match="gone.*no such folder"):
        choose_segmenter(SegmenterOptions("sam3", segmenter_model="gone"))
    with pytest.raises(InputError, match="the folder has no config.json"):
        choose_segmenter(SegmenterOptions("sam3", segmenter_model=str(tmp_path)))
