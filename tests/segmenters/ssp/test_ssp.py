"""SSP against a slow reference of its equations, and its checkpoints."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from aligndiff.core.errors import InputError
from aligndiff.segmenters.ssp.checkpoint import build_network, load_ssp, save_ssp
from aligndiff.segmenters.ssp.network import (
    SSP,
    SSPConfig,
    foreground_probability,
    image_tensor,
    masked_average_pooling,
    ssp_logits,
)
from aligndiff.segmenters.ssp.self_support import similarity

SMALL = SSPConfig(width=2, blocks=(1, 2, 3))
RESNET_50 = SSPConfig(width=64, blocks=(3, 4, 6))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


# The reference: one query, cells as a list of vectors, no vectorisation beyond one vector.


def cosine(x, y):
    norms = math.sqrt(sum(v * v for v in x)) * math.sqrt(sum(v * v for v in y))
    return sum(a * b for a, b in zip(x, y, strict=True)) / max(norms, 1e-300)


def softmax(values):
    powers = [math.exp(v - max(values)) for v in values]
    return [p / sum(powers) for p in powers]


def reference_similarity(cells, fg, bg):
    """Logits (background, foreground) of each cell; `fg` and `bg` hold a prototype per cell."""
    return [(10 * cosine(x, b), 10 * cosine(x, f)) for x, f, b in zip(cells, fg, bg, strict=True)]


def surest(probabilities, threshold):
    chosen = [i for i, p in enumerate(probabilities) if p > threshold]
    if chosen:
        return chosen
    order = sorted(range(len(probabilities)), key=lambda i: -probabilities[i])
    return order[:12]


def reference_self_support(cells, logits):
    fg = [softmax(pair)[1] for pair in logits]
    bg = [softmax(pair)[0] for pair in logits]
    fg_cells = [cells[i] for i in surest(fg, 0.7)]
    bg_cells = [cells[i] for i in surest(bg, 0.6)]
    global_fg = sum(fg_cells) / len(fg_cells)
    global_bg = sum(bg_cells) / len(bg_cells)
    backgrounds = []
    for cell in cells:
        weights = softmax([2 * cosine(cell, other) for other in bg_cells])
        local = sum(w * other for w, other in zip(weights, bg_cells, strict=True))
        backgrounds.append(0.3 * global_bg + 0.7 * local)
    return global_fg, backgrounds


def reference_ssp(cells, p_f, p_b):
    n = len(cells)
    own, b1 = reference_self_support(cells, reference_similarity(cells, [p_f] * n, [p_b] * n))
    f1 = 0.5 * p_f + 0.5 * own
    out1 = reference_similarity(cells, [f1] * n, b1)
    own, b2 = reference_self_support(cells, out1)
    f2 = 0.5 * p_f + 0.5 * own
    fg = 0.5 * p_f + 0.2 * f1 + 0.3 * f2
    bg = [0.5 * p_b + 0.2 * x + 0.3 * y for x, y in zip(b1, b2, strict=True)]
    last = reference_similarity(cells, [fg] * n, bg)
    out2 = [
        tuple(0.7 * a + 0.3 * b for a, b in zip(x, y, strict=True))
        for x, y in zip(last, out1, strict=True)
    ]
    return out1, out2


def scene(contrast: float, seed: int, c: int = 7, h: int = 5, w: int = 6):
    """Two queries of noisy features around two directions, and the prototypes; float64."""
    rng = np.random.default_rng(seed)
    p_f, p_b = rng.normal(size=(2, c))
    is_object = rng.random((2, 1, h, w)) < 0.3
    directions = np.where(is_object, p_f[:, None, None], p_b[:, None, None])
    features = contrast * directions + rng.normal(size=(2, c, h, w))
    return features, p_f, p_b


# With contrast 3 cells of both kinds are sure. With 0 and a scaled-down prototype difference none
# is, and the 12 surest stand in.
@pytest.mark.parametrize(("contrast", "alike"), [(3.0, 0.0), (0.0, 0.0), (0.0, 0.98)])
def test_head_equals_the_slow_reference(contrast, alike):
    features, p_f, p_b = scene(contrast, seed=1)
    p_f = alike * p_b + (1 - alike) * p_f
    tensors = [torch.from_numpy(x) for x in (features, p_f, p_b)]
    out1, out2 = ssp_logits(*tensors)

    directions = F.normalize(tensors[0].flatten(2).transpose(1, 2), dim=2)
    starts = torch.stack([similarity(one, *tensors[1:]) for one in directions])
    sure = (starts.softmax(dim=2)[..., 1] > 0.7).any(dim=1)
    assert sure.any() == (alike == 0), "the case does not exercise what it is meant to"
    for index, query in enumerate(features):
        cells = list(query.reshape(query.shape[0], -1).T)
        for got, wanted in zip((out1, out2), reference_ssp(cells, p_f, p_b), strict=True):
            wanted = np.array(wanted).T.reshape(2, *query.shape[1:])
            np.testing.assert_allclose(got[index].numpy(), wanted, rtol=0, atol=1e-9)


def test_queries_of_a_batch_do_not_mix():
    features, p_f, p_b = (torch.from_numpy(x) for x in scene(3.0, seed=3))
    _, both = ssp_logits(features, p_f, p_b)
    for index in range(2):
        _, alone = ssp_logits(features[index : index + 1], p_f, p_b)
        torch.testing.assert_close(both[index], alone[0])


def test_prototypes_may_differ_within_a_batch():
    features, p_f, p_b = (torch.from_numpy(x) for x in scene(3.0, seed=4))
    _, out = ssp_logits(features, torch.stack([p_f, p_b]), torch.stack([p_b, p_f]))
    _, swapped = ssp_logits(features[1:], p_b, p_f)
    torch.testing.assert_close(out[1], swapped[0])


def test_a_map_of_fewer_cells_than_the_fallback_takes_them_all():
    out1, out2 = ssp_logits(torch.randn(1, 4, 1, 3), torch.zeros(4), torch.zeros(4))
    assert out1.isfinite().all() and out2.isfinite().all()


@pytest.mark.parametrize("features", [torch.zeros(1, 4, 4, 4), torch.randn(1, 4, 4, 4)])
def test_empty_prototypes_and_empty_cells_never_give_nan(features):
    features = features.clone().requires_grad_()
    _, out2 = ssp_logits(features, torch.zeros(4), torch.zeros(4))
    out2.sum().backward()
    assert out2.isfinite().all() and features.grad.isfinite().all()


# Pooling


def reference_pooling(feature, mask):
    """One (c, h, w) feature and one (H, W) mask; bilinear with aligned corners, in loops."""
    c, h, w = feature.shape
    total, weight = np.zeros(c), 0.0
    for i in range(h):
        for j in range(w):
            y = i * (mask.shape[0] - 1) / (h - 1)
            x = j * (mask.shape[1] - 1) / (w - 1)
            top, left = min(int(y), mask.shape[0] - 2), min(int(x), mask.shape[1] - 2)
            dy, dx = y - top, x - left
            share = (
                (1 - dy) * (1 - dx) * mask[top, left]
                + (1 - dy) * dx * mask[top, left + 1]
                + dy * (1 - dx) * mask[top + 1, left]
                + dy * dx * mask[top + 1, left + 1]
            )
            total += share * feature[:, i, j]
            weight += share
    return total / (weight + 1e-5)


def test_pooling_equals_the_slow_reference():
    rng = np.random.default_rng(5)
    features = rng.normal(size=(2, 3, 4, 5))
    masks = rng.random((2, 19, 23)) < 0.4
    got = masked_average_pooling(torch.from_numpy(features), torch.from_numpy(masks))
    for index in range(2):
        wanted = reference_pooling(features[index], masks[index].astype(float))
        np.testing.assert_allclose(got[index], wanted, atol=1e-12)


def test_pooling_an_empty_mask_gives_zeros():
    pooled = masked_average_pooling(torch.ones(1, 3, 4, 4), torch.zeros(1, 32, 32, dtype=bool))
    assert torch.equal(pooled, torch.zeros(1, 3))


def test_an_object_between_the_sampled_points_still_counts():
    features = torch.zeros(1, 1, 4, 4)
    features[0, 0, 1, 2] = 5.0
    mask = torch.zeros(1, 64, 64)
    mask[0, 24, 36] = 1  # inside cell (1, 2), on no corner-aligned sample
    pooled = masked_average_pooling(features, mask)
    torch.testing.assert_close(pooled, torch.tensor([[5.0]]), atol=0.05, rtol=0)


def test_probability_is_resized_before_the_softmax():
    logits = torch.tensor([[[[0.0, 4.0]], [[4.0, 0.0]]]])
    probability = foreground_probability(logits, (1, 3))
    wanted = [1 / (1 + math.exp(-4)), 0.5, 1 / (1 + math.exp(4))]
    torch.testing.assert_close(probability, torch.tensor([[wanted]]))


# The network


def test_key_count_of_the_published_resnet_101():
    with torch.device("meta"):
        names = SSP().state_dict()
    assert len(names) == 576
    for name in ("layer0.0.6.weight", "layer0.1.running_var", "layer3.22.bn3.bias"):
        assert name in names
    assert names["layer3.0.downsample.0.weight"].shape == (1024, 512, 1, 1)


def test_structure_strides_dilations_and_the_last_relu():
    network = SSP(SMALL).eval()
    features = network.backbone(torch.randn(1, 3, 61, 40))
    assert features.shape == (1, SMALL.feature_width, 8, 5)
    assert features.min() < 0, "the last block must end without ReLU"
    assert [block.conv2.dilation for block in network.layer3] == [(1, 1), (2, 2), (2, 2)]
    assert [block.last_relu for block in network.layer3] == [True, True, False]
    assert network.layer2[0].conv2.stride == (2, 2) and network.layer3[0].conv2.stride == (1, 1)


def test_image_tensor_is_normalised_like_imagenet():
    image = np.full((2, 3, 3), (0, 128, 255), np.uint8)
    got = image_tensor(image)
    wanted = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert got.shape == (3, 2, 3)
    torch.testing.assert_close(got[:, 0, 0], torch.tensor(wanted))


def test_an_episode_trains_every_parameter():
    network = SSP(SMALL)
    features = network.backbone(torch.randn(4, 3, 64, 64))
    masks = torch.zeros(2, 64, 64)
    masks[:, 16:40, 8:50] = 1
    prototypes = [masked_average_pooling(features[:2], m) for m in (masks, 1 - masks)]
    out1, out2 = ssp_logits(features[2:], *prototypes)
    target = torch.randint(0, 2, (2, 8, 8))
    sum(torch.nn.functional.cross_entropy(out, target) for out in (out1, out2)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("bad", [{"width": 0}, {"blocks": (1, 0, 1)}, {"blocks": (1, 2)}])
def test_config_checks(bad):
    with pytest.raises(ValueError):
        SSPConfig(**bad)


# Checkpoints


def random_state(config: SSPConfig) -> dict[str, torch.Tensor]:
    return {k: torch.randn(v.shape).to(v.dtype) for k, v in SSP(config).state_dict().items()}


@pytest.mark.parametrize(("config", "count"), [(SSPConfig(), 576), (RESNET_50, 270)])
def test_published_layouts_load_strictly(tmp_path, config, count):
    with torch.device("meta"):
        state = {k: torch.zeros(v.shape) for k, v in SSP(config).state_dict().items()}
    state["layer3.5.conv3.weight"] = torch.randn(1024, 256, 1, 1, device="cpu")
    state = {
        k: v if not v.is_meta else torch.zeros(v.shape, device="cpu") for k, v in state.items()
    }
    assert len(state) == count
    path = tmp_path / "voc_2.pth"
    torch.save(state, path)
    checkpoint = load_ssp(path)
    assert checkpoint.network.config == config and checkpoint.input_side is None
    assert not checkpoint.network.training
    loaded = checkpoint.network.state_dict()
    assert torch.equal(loaded["layer3.5.conv3.weight"], state["layer3.5.conv3.weight"])


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pickle_loads_with_or_without_the_parallel_prefix(tmp_path, prefix):
    state = random_state(SMALL)
    torch.save({prefix + k: v for k, v in state.items()}, tmp_path / "ssp.pth")
    loaded = load_ssp(tmp_path / "ssp.pth").network.state_dict()
    assert all(torch.equal(loaded[k], v) for k, v in state.items())


def test_safetensors_round_trip_keeps_the_input_side(tmp_path):
    network = SSP(SMALL).eval()
    save_ssp(network, tmp_path / "tiny.safetensors", input_side=128, dtype=torch.float16)
    stored = safetensors.torch.load_file(tmp_path / "tiny.safetensors")
    assert stored["layer0.0.0.weight"].dtype == torch.float16
    checkpoint = load_ssp(tmp_path / "tiny.safetensors")
    assert checkpoint.input_side == 128
    x = torch.randn(1, 3, 32, 32)
    got = checkpoint.network.backbone(x)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, network.backbone(x), atol=0.05, rtol=0.05)


def test_tensors_that_do_not_fit_give_one_line():
    state = random_state(SMALL)
    del state["layer2.1.bn1.weight"]
    state["fc.weight"] = torch.zeros(1)
    state["layer1.0.bn3.bias"] = torch.zeros(3)
    with pytest.raises(InputError) as caught:
        build_network(state, "x.pth")
    assert caught.value.problems == (
        "x.pth: not an SSP checkpoint: tensors 1 missing (layer2.1.bn1.weight), "
        "1 unexpected (fc.weight), "
        "1 of the wrong shape (layer1.0.bn3.bias (3,) instead of (8,)); "
        "docs/PREPARE.md says where to get a good one",
    )


def test_a_plain_resnet_is_refused_in_one_line():
    state = {f"layer{n}.0.conv1.weight": torch.zeros(1) for n in (1, 2, 3, 4)}
    state["conv1.weight"] = torch.zeros(64, 3, 7, 7)
    with pytest.raises(InputError, match=r"x\.pth: not an SSP checkpoint: its 5 tensors .*lack"):
        build_network(state, "x.pth")


def test_a_partial_parallel_prefix_is_refused():
    state = random_state(SMALL)
    state["module.layer0.1.bias"] = state.pop("layer0.1.bias")
    with pytest.raises(InputError, match="1 missing .*1 unexpected .module.layer0.1.bias."):
        build_network(state, "x.pth")


class Malice:
    """Unpickling this makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    "save", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x, protocol=2))]
)
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, save):
    trap, path = tmp_path / "trap", tmp_path / "bad.pth"
    save({"layer0.0.0.weight": Malice(trap)}, path)
    with pytest.raises(InputError) as caught:
        load_ssp(path)
    assert not trap.exists()
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}: refused") and "mkdir" in problem and "\n" not in problem


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.pth", None, "no such file"),
        ("garbage.pth", b"not a checkpoint", "only tensors are loaded"),
        ("empty.pth", b"", "not a readable checkpoint"),
        ("garbage.safetensors", b"not a checkpoint", "not a readable safetensors file"),
        ("cut.pth", b"PK\x03\x04 cut off", "not a readable checkpoint"),
    ],
)
def test_unreadable_files_give_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        load_ssp(path)
    assert len(caught.value.problems) == 1 and str(path) in caught.value.problems[0]


def test_a_pickle_of_other_things_is_refused(tmp_path):
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "run.pth")
    with pytest.raises(InputError, match="no plain table of tensors"):
        load_ssp(tmp_path / "run.pth")


def wrapped_by_a_training_script(state: dict) -> dict:
    """Epoch and optimizer around the weights, which come from a DataParallel network."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    optimizer = torch.optim.AdamW([parameter])
    optimizer.step()
    about = {"epoch": 12, "best_miou": 0.61, "optimizer": optimizer.state_dict()}
    return {**about, "model": {f"module.{name}": value for name, value in state.items()}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "arch": "ssp", "model_state_dict": state},
        wrapped_by_a_training_script,
        lambda state: {"model": {"state_dict": state}, "args": {"lr": 0.1}},
        lambda state: {"state_dict": {f"model.module.{name}": x for name, x in state.items()}},
        lambda state: {f"network.{name}": x for name, x in state.items()},
    ],
)
def test_what_a_training_script_wraps_around_the_weights_is_taken_off(tmp_path, wrap):
    state = random_state(SMALL)
    torch.save(wrap(state), tmp_path / "run.pth")
    network = load_ssp(tmp_path / "run.pth").network
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name


def test_wrapped_weights_load_as_strictly_as_bare_ones(tmp_path):
    path = tmp_path / "run.pth"
    state = random_state(SMALL)
    torch.save({"state_dict": {**state, "extra": torch.zeros(1)}, "epoch": 1}, path)
    with pytest.raises(InputError, match=r"1 unexpected \(extra\)"):
        load_ssp(path)
    torch.save({"state_dict": {**state, "note": "text"}}, path)
    with pytest.raises(InputError, match="no plain table of tensors"):
        load_ssp(path)
    torch.save({"model": state, "state_dict": state}, path)
    with pytest.raises(InputError, match="holds tensors as state_dict and model: save the right"):
        load_ssp(path)


def test_a_wrong_input_side_is_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(random_state(SMALL), path, {"input_side": "large"})
    with pytest.raises(InputError, match="input_side is 'large', not a number of pixels"):
        load_ssp(path)
