"""Fixtures that every test may use: a real, tiny, random Stable Diffusion and a tiny dataset."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

# One thread per test process: sums are added in one order, and the tests share a small machine.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.chromium import NAMES, Chromium, find_chromium
from tests.torchrun import torchrun_variables

# Words that are tokens of the tiny vocabulary, as lists of pieces: "albatross" is two tokens.
WORDS = ["a", "an", "of", "on", "good", "photo", "dog", "fish", "water", "alba|tross"]
CATEGORIES = ("fish", "albatross")
LAUNCH_VARIABLES = (
    *("ALIGNDIFF_RANK", "ALIGNDIFF_WORLD_SIZE", "RANK", "WORLD_SIZE", "LOCAL_RANK"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_USE_AGENT_STORE", "MASTER_ADDR", "MASTER_PORT"),
    *("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"),
    *("SLURM_LOCALID", "SLURM_TASK_PID"),
)


@pytest.fixture(autouse=True)
def one_quiet_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No launcher's variables and no GPU, wherever the tests run.

    Where a test sets such variables, nobody else comes that could be waited for.
    """
    for name in LAUNCH_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("aligndiff.runner.group._LATEST", 0.0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """`torchrun(rank, world_size)`: from then on this process is one that torchrun started."""

    def launch(rank: int, world_size: int) -> None:
        for name, value in torchrun_variables(rank, world_size).items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.fixture(scope="session")
def tiny_pipeline_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder: StableDiffusionPipeline, random weights, PNDM, epsilon, 64 px.

    The VAE reduces 4 times, so the latent grid is 16 x 16, and cross-attention works on 16, 8 and
    4 cells a side. Its queries and keys are enlarged, so that the maps differ from cell to cell.
    """
    import torch
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = StableDiffusionPipeline(
            vae=_vae(),
            text_encoder=_text_encoder(),
            tokenizer=_tokenizer(),
            unet=_unet(),
            scheduler=PNDMScheduler(
                beta_start=0.00085,
                beta_end=0.012,
                beta_schedule="scaled_linear",
                skip_prk_steps=True,
                steps_offset=1,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    folder = tmp_path_factory.mktemp("models") / "small_random"
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def dataset_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `dataset_dir` copies. Do not write into it."""
    root = tmp_path_factory.mktemp("dataset_template")
    rng = np.random.default_rng(0)
    for category, colour in zip(CATEGORIES, ((230, 120, 20), (240, 240, 245)), strict=True):
        (root / category).mkdir()
        for number, shape in enumerate(((64, 64), (64, 80), (72, 64)), start=1):
            image, mask = _render(rng, shape, colour)
            Image.fromarray(image).save(root / category / f"{number}.jpg", quality=95)
            Image.fromarray(mask).save(root / category / f"{number}.png")
    entries = [
        {"type": "text", "category": "fish", "D_good_dir": "fish", "text": "a photo of a fish"},
        {"type": "NM_embedding", "category": "fish", "D_good_dir": "fish", "path": "fish"},
        {
            "type": "text",
            "category": "albatross",
            "D_good_dir": "albatross",
            "text": "a photo of an albatross on water",
        },
    ]
    (root / "dataset.json").write_text(json.dumps({"prompt_dataset": entries}))
    return root


@pytest.fixture
def dataset_dir(dataset_template: Path, tmp_path: Path) -> Path:
    """A dataset of one's own: two rendered objects of three pairs, three entries, no defaults.

    Entries: a text for "fish", an NM_embedding for "fish" (not learned), a text for "albatross".
    """
    return Path(shutil.copytree(dataset_template, tmp_path / "dataset"))


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> Iterator[None]:
    """Single-threaded cv2 as well."""
    cv2.setNumThreads(1)
    yield


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A real browser; without one its tests are skipped."""
    binary = find_chromium()
    if binary is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} on PATH, and CHROMIUM is not set")
    browser = Chromium(binary, tmp_path_factory.mktemp("chromium") / "profile")
    yield browser
    browser.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 2 MiB, which a test can fill up or make read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def file_limit() -> Callable[[int], AbstractContextManager[None]]:
    """While open, no file of this process may grow beyond so many bytes (EFBIG)."""
    resource = pytest.importorskip("resource")

    @contextmanager
    def limited(most: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture
def memory_for() -> Callable[..., object]:
    """`memory_for(module, most)`: a batch of more than `most` rows is out of memory from then on.

    Raised before a module's forward pass; `most` may also be asked anew for each one.
    """
    import torch

    def limit(module: torch.nn.Module, most: int | Callable[[], int]) -> object:
        def check(_module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            if len(args[0]) > (most if isinstance(most, int) else most()):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        return module.register_forward_pre_hook(check)

    return limit


def _render(
    rng: np.random.Generator, shape: tuple[int, int], colour: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A coloured ellipse on noise: uint8 (h, w, 3) and its mask, uint8 (h, w) of 0 and 255."""
    height, width = shape
    image = rng.integers(40, 120, (height, width, 3), dtype=np.uint8)
    mask = np.zeros(shape, np.uint8)
    x, y = rng.integers(width // 3, width // 2), rng.integers(height // 3, height // 2)
    angle = float(rng.integers(0, 90))
    cv2.ellipse(mask, (int(x), int(y)), (width // 4, height // 6), angle, 0, 360, 255, -1)
    image[mask > 0] = colour
    return image, mask


def _tokenizer():  # type: ignore[no-untyped-def]
    """A CLIPTokenizer of all bytes, and of the pieces in WORDS as whole tokens."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    vocab = letters + [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        *heads, tail = word.split("|")
        for pieces in [list(head) for head in heads] + [[*tail[:-1], tail[-1] + "</w>"]]:
            left = pieces[0]
            for right in pieces[1:]:
                if (left, right) not in merges:
                    merges.append((left, right))
                    vocab.append(left + right)
                left += right
    vocab += ["<|startoftext|>", "<|endoftext|>"]
    table = {token: number for number, token in enumerate(dict.fromkeys(vocab))}
    return CLIPTokenizer(vocab=table, merges=merges, model_max_length=77)


def _text_encoder():  # type: ignore[no-untyped-def]
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = _tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def _unet():  # type: ignore[no-untyped-def]
    import torch
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(16, 32, 32),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    ).eval()
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if "attn2.to_q.weight" in name or "attn2.to_k.weight" in name:
                weight.mul_(4)
    return unet


def _vae():  # type: ignore[no-untyped-def]
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
    ).eval()


@pytest.fixture
def refined_dir(dataset_dir: Path) -> Path:
    """The dataset after step 3: four samples of each entry, ellipses as in the real pairs.

    Samples 0 and 1 are consensus, 2 is a pseudo-label, 3 is rejected.
    """
    from aligndiff.dataset.images import write_grey, write_image, write_mask
    from aligndiff.dataset.layout import EntryFolder
    from aligndiff.dataset.prompt_bank import load_prompt_bank
    from aligndiff.dataset.records import EntryRecord, SampleRecord

    rng = np.random.default_rng(1)
    for entry in load_prompt_bank(dataset_dir).entries:
        place = EntryFolder(dataset_dir, entry)
        place.make()
        EntryRecord(entry.id, "text", entry.category, "a", "fish", "m", {}, "f").write(
            place.entry_json
        )
        for index in range(4):
            image, mask = _render(rng, (64, 64), (230, 120, 20))
            write_image(place.image_path(index, "png"), image)
            write_grey(place.heatmap_path(index), mask)
            write_mask(place.mask_path(index), mask > 0)
            verdict = ("consensus", "consensus", "pseudo_label", None)[index]
            status = "refined" if verdict else "rejected"
            record = SampleRecord(index, 7, status, "png", "f", verdict, 0.9, None, "r")
            record.write(place.record_path(index))
    return dataset_dir
