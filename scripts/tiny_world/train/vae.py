"""Train the tiny AutoencoderKL: 8 times smaller, 8 latent channels, on random crops of scenes.

Loss: L1 + L1 of the image gradients (keeps edges of stripes and dots) + a small KL term.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from scripts.tiny_world.train.run import (
    Ema,
    Run,
    choose_device,
    descend,
    mixed_precision,
    render_images,
    to_signed,
)

CROP = 64  # px: a crop costs a quarter of an image and teaches as much about texture
KL_WEIGHT = 1e-4
GRADIENT_WEIGHT = 1.0


def new_vae() -> AutoencoderKL:
    widths = (16, 32, 64, 96)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=widths,
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=128,
    )


def image_gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours along x and y of (b, c, h, w)."""
    return images[..., 1:] - images[..., :-1], images[..., 1:, :] - images[..., :-1, :]


def vae_loss(vae: AutoencoderKL, images: Tensor) -> tuple[Tensor, Tensor]:
    """(loss, L1 alone) of one batch (b, 3, h, w) in [-1, 1]."""
    posterior = vae.encode(images).latent_dist
    rebuilt = vae.decode(posterior.sample()).sample.float()
    l1 = F.l1_loss(rebuilt, images)
    pairs = zip(image_gradients(rebuilt), image_gradients(images), strict=True)
    edges = sum(F.l1_loss(ours, theirs) for ours, theirs in pairs)
    kl = posterior.kl().float().mean() / images[0].numel() * 64
    return l1 + GRADIENT_WEIGHT * edges + KL_WEIGHT * kl, l1


def random_crops(images: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (count, CROP, CROP, 3), half of them mirrored."""
    crops = []
    for index in rng.integers(len(images), size=count):
        top, left = rng.integers(0, images.shape[1] - CROP + 1, 2)
        crop = images[index, top : top + CROP, left : left + CROP]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return np.stack(crops)


@torch.no_grad()
def measure_scale(vae: AutoencoderKL, images: np.ndarray, device: torch.device) -> float:
    """1 / standard deviation of the latents: what ``scaling_factor`` means."""
    latents = vae.encode(to_signed(images).to(device)).latent_dist.sample()
    return float(1 / latents.std())


@torch.no_grad()
def save_vae(vae: AutoencoderKL, ema: Ema, folder: Path, images: np.ndarray) -> float:
    """Write the averaged weights, and pairs of scenes and reconstructions to look at; their L1."""
    averaged = new_vae()
    averaged.load_state_dict(ema.shadow)
    averaged.eval()
    scale = measure_scale(averaged, images[:64], torch.device("cpu"))
    averaged.register_to_config(scaling_factor=round(scale, 5))
    averaged.save_pretrained(folder / "vae")
    truth = to_signed(images[:16])
    rebuilt = averaged.decode(averaged.encode(truth).latent_dist.mode()).sample
    pixels = rebuilt.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()
    parts = (images[:8], pixels[:8], images[8:16], pixels[8:])
    rows = [np.concatenate(part, axis=1) for part in parts]
    cv2.imwrite(str(folder / "reconstructions.png"), np.concatenate(rows)[..., ::-1])
    return float(F.l1_loss(rebuilt, truth))


def train_vae(
    run: Run,
    scenes: int,
    batch_size: int,
    rate: float,
    device_name: str,
    workers: int,
    start: Path | None = None,
) -> None:
    """``start``: the folder of a VAE whose weights to start from, instead of from nothing."""
    device = choose_device(device_name)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(start, torch_dtype=torch.float32) if start else new_vae()
    vae = vae.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    ema, step = Ema(vae, 0.998), 0
    if state := run.load():
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        ema.shadow, step = {k: v.to(device) for k, v in state["ema"].items()}, state["step"]
    images = render_images(0, scenes, workers)
    fresh = render_images(10_000_000, 64, 1)
    while step < run.steps and not run.out_of_time():
        rng = np.random.default_rng((step, 1))
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = rate * run.cosine_rate(step, 200)
        batch = to_signed(random_crops(images, batch_size, rng))
        batch = batch.to(device, memory_format=torch.channels_last)
        with mixed_precision(device):
            loss, l1 = vae_loss(vae, batch)
        descend(vae, optimizer, loss)
        step += 1
        ema.update(vae, step)
        if run.due(step, run.log_every):
            run.log(step, loss=loss.item(), l1=l1.item())
        if run.save_due(step):
            run.save(
                {
                    "vae": vae.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ema": ema.shadow,
                    "step": step,
                }
            )
            run.log(step, fresh_l1=save_vae(vae, ema, run.folder, fresh))
