"""Train the tiny UNet together with its text encoder on captioned scenes, in the VAE's latents.

v-prediction; each sample's loss is weighted by min(snr, 5) / (snr + 1) + 0.5 (min-SNR weighting,
Hang et al. 2023, plus a floor that keeps the noisiest steps learning); one caption in ten is empty,
which is what classifier-free guidance needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTokenizer

from aligndiff.core.files import atomic_path, file_fingerprint
from aligndiff.core.prefetch import prefetch_map
from scripts.tiny_world.train.run import (
    BATCHES_AHEAD,
    Ema,
    Run,
    choose_device,
    descend,
    mixed_precision,
    render_images,
    to_signed,
)
from scripts.tiny_world.train.text_to_latents import (
    TextToLatents,
    load_published,
    make_fast,
    new_noise_schedule,
    token_ids,
)
from scripts.tiny_world.world.captions import caption, new_tokenizer
from scripts.tiny_world.world.scene import Scene, random_scene, render

VAE_WEIGHTS = "diffusion_pytorch_model.safetensors"
EMPTY_CAPTIONS = 0.1  # share of captions left empty
DOTTED_WEIGHT = 2.0  # of a scene whose first thing is dotted, beside 1 of the others
SNR_CAP, WEIGHT_FLOOR = 5.0, 0.5
# The text encoder starts with words far apart (the library's spread is 0.02) and learns slowly.
# At the UNet's own rate its layers drown the words in one constant vector: grounds are still told
# apart, categories and colours are not.
TEXT_RATE = 0.15  # of the UNet's learning rate
LOOK_AT = (  # prompts whose samples are drawn now and then, four of each
    "a photo of a fish",
    "an orange fish with white stripes in the water",
    "a red mushroom with white dots on green grass",
    "a photo of a mushroom",
    "a photo of a blue house on sand",
    "a boat",
    "a yellow star at night",
    "a photo of a dotted green and yellow cup",
    "a butterfly",
    "a photo of a red car and a green tree",
    "a dotted red and white mushroom",
    "a photo of a heart",
)


@torch.no_grad()
def encode_scenes(
    vae: AutoencoderKL, count: int, device: torch.device, workers: int, cache: Path
) -> Tensor:
    """Scaled latent means of scenes 0 ... count-1, float16 (count, 8, h, w), kept in ``cache``."""
    if cache.exists():
        return load_file(cache)["latents"]
    vae = vae.to(device, memory_format=torch.channels_last).eval()
    parts = []
    for start in range(0, count, 4000):
        images = render_images(start, min(4000, count - start), workers)
        for chunk in np.array_split(images, max(1, len(images) // 50)):
            pixels = to_signed(chunk).to(device, memory_format=torch.channels_last)
            with mixed_precision(device):
                mean = vae.encode(pixels).latent_dist.mean
            parts.append((mean.float() * vae.config.scaling_factor).half().cpu())
        print(f"encoded {start + len(images)} of {count} scenes", flush=True)
    latents = torch.cat(parts).contiguous()
    with atomic_path(cache) as beside:
        save_file({"latents": latents}, beside)
    return latents


def sample_weights(schedule: DDPMScheduler, timesteps: Tensor) -> Tensor:
    """min(snr, 5) / (snr + 1) + 0.5 for each timestep: float32 (b,)."""
    signal = schedule.alphas_cumprod[timesteps.cpu()].to(timesteps.device)
    snr = signal / (1 - signal)
    return snr.clamp(max=SNR_CAP) / (snr + 1) + WEIGHT_FLOOR


def scene_fingerprint() -> str:
    """Changes when scenes are drawn in another way: a hash of some of them, 8 hex digits."""
    drawn = b"".join(render(random_scene(index)).image.tobytes() for index in range(8))
    return hashlib.sha256(drawn).hexdigest()[:8]


def latents_name(scenes: int, vae_folder: Path) -> str:
    """Named after what decides them: another VAE, count or renderer has latents of its own."""
    world, weights = scene_fingerprint(), file_fingerprint(vae_folder / VAE_WEIGHTS)
    return f"latents-{scenes}-{world}-{weights}.safetensors"


def scene_shares(scenes: Sequence[Scene]) -> np.ndarray:
    """How often each scene is drawn, float64 (scenes,), the sum 1: dots are learned last."""
    weights = [
        DOTTED_WEIGHT if scene.things[0].look.texture == "dotted" else 1.0 for scene in scenes
    ]
    return np.array(weights) / np.sum(weights)


def captions_of(scenes: Sequence[Scene], rng: np.random.Generator) -> list[str]:
    """A caption for each scene, one in ten empty."""
    return ["" if rng.random() < EMPTY_CAPTIONS else caption(scene, rng) for scene in scenes]


@dataclass(frozen=True)
class CaptionedBatches:
    """What a step learns from, by its number alone: a run that goes on repeats none of it."""

    scenes: Sequence[Scene]
    tokenizer: CLIPTokenizer
    batch_size: int

    @cached_property
    def shares(self) -> np.ndarray:
        return scene_shares(self.scenes)

    def draw(self, step: int) -> tuple[np.ndarray, Tensor]:
        """Numbers of scenes, int64 (b,), and the token ids of their captions, int64 (b, length)."""
        rng = np.random.default_rng((step, 2))
        indices = rng.choice(len(self.scenes), size=self.batch_size, p=self.shares)
        captions = captions_of([self.scenes[index] for index in indices], rng)
        return indices, token_ids(self.tokenizer, captions)


def spread_timesteps(schedule: DDPMScheduler, count: int) -> Tensor:
    """Random timesteps, one in each of ``count`` equal shares of the schedule: int64 (count,).

    Each is uniform over the schedule, as independent ones are; a batch's loss varies less.
    """
    places = (torch.randperm(count) + torch.rand(count)) / count
    return (places * schedule.config.num_train_timesteps).long()


def training_loss(
    model: TextToLatents, schedule: DDPMScheduler, latents: Tensor, ids: Tensor
) -> Tensor:
    noise = torch.randn_like(latents)
    timesteps = spread_timesteps(schedule, len(latents)).to(latents.device)
    noisy = schedule.add_noise(latents, noise, timesteps)
    target = schedule.get_velocity(latents, noise, timesteps)
    with mixed_precision(latents.device):
        prediction = model(noisy.contiguous(memory_format=torch.channels_last), timesteps, ids)
    errors = (prediction.float() - target).square().mean(dim=(1, 2, 3))
    return (errors * sample_weights(schedule, timesteps)).mean()


def build_pipeline(model: TextToLatents, vae: AutoencoderKL) -> StableDiffusionPipeline:
    schedule = new_noise_schedule().config
    solver = DPMSolverMultistepScheduler.from_config(
        schedule, timestep_spacing="linspace", steps_offset=1
    )
    return StableDiffusionPipeline(
        vae=vae.float(),
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=solver,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@torch.no_grad()
def save_model(model: TextToLatents, ema: Ema, vae: AutoencoderKL, run: Run) -> None:
    """Write the averaged weights as a float32 pipeline folder, and a sheet of samples."""
    averaged = TextToLatents(model.tokenizer)
    averaged.load_state_dict({name: value.cpu() for name, value in ema.shadow.items()})
    pipeline = build_pipeline(averaged.eval(), vae.to("cpu"))
    pipeline.save_pretrained(run.folder / "pipeline")
    if run.previews:
        draw_previews(pipeline, run)


def draw_previews(pipeline: StableDiffusionPipeline, run: Run) -> None:
    """A sheet of samples, ``run.previews`` of each prompt, always from the same seeds."""
    pipeline.set_progress_bar_config(disable=True)
    prompts = [prompt for prompt in LOOK_AT for _ in range(run.previews)]
    seeds = [index % run.previews for index in range(len(prompts))]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    images = pipeline(
        prompts, num_inference_steps=15, guidance_scale=4.0, generator=generators, output_type="np"
    ).images
    rows = np.split((images * 255).round().astype(np.uint8), len(LOOK_AT) // 2)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    cv2.imwrite(str(run.folder / "samples.png"), sheet[..., ::-1])


def new_optimizer(model: TextToLatents, device: torch.device) -> torch.optim.AdamW:
    """AdamW; a group's ``share`` is its part of the learning rate."""
    groups = [
        {"params": list(model.unet.parameters()), "share": 1.0},
        {"params": list(model.text_encoder.parameters()), "share": TEXT_RATE},
    ]
    fused = device.type == "cuda"
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=1e-2, fused=fused)


def run_tokenizer(run: Run, start: Path | None) -> CLIPTokenizer:
    """That of the weights it starts from, and the same whenever the run goes on.

    A new one numbers rare word pieces anew: the library breaks ties between them by chance.
    """
    kept = run.folder / "tokenizer"
    if not kept.is_dir():
        first = CLIPTokenizer.from_pretrained(start / "tokenizer") if start else new_tokenizer()
        first.save_pretrained(kept)
    return CLIPTokenizer.from_pretrained(kept)


def train_unet(
    run: Run,
    vae_folder: Path,
    scenes: int,
    batch_size: int,
    rate: float,
    device_name: str,
    workers: int,
    compiled: bool = False,
    start: Path | None = None,
) -> None:
    """``start``: a pipeline folder whose weights to start from, instead of from nothing."""
    device = choose_device(device_name)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(vae_folder)
    cache = run.folder / latents_name(scenes, vae_folder)
    latents = encode_scenes(vae, scenes, device, workers, cache)
    model = TextToLatents(run_tokenizer(run, start))
    if start:
        load_published(model, start)
    model = model.to(device).train()
    make_fast(model, device, compiled)
    optimizer = new_optimizer(model, device)
    ema, schedule, step = Ema(model, 0.999), new_noise_schedule(), 0
    if state := run.load():
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ema.shadow, step = {k: v.to(device) for k, v in state["ema"].items()}, state["step"]
    batches = CaptionedBatches(
        [random_scene(index) for index in range(scenes)], model.tokenizer, batch_size
    )
    latents, recent = latents.to(device), []
    for indices, ids in prefetch_map(batches.draw, range(step, run.steps), BATCHES_AHEAD):
        torch.manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * rate * run.cosine_rate(step, 300)
        batch = latents[torch.from_numpy(indices).to(device)].float()
        loss = training_loss(model, schedule, batch, ids.to(device))
        descend(model, optimizer, loss)
        step += 1
        ema.update(model, step)
        recent.append(loss.detach())
        if run.due(step, run.log_every):
            run.log(step, loss=torch.stack(recent).mean())
            recent.clear()
        if run.save_due(step):
            run.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "ema": ema.shadow,
                    "step": step,
                }
            )
            if run.due(step, run.save_every) or run.out_of_time():
                save_model(model, ema, vae, run)
        if run.out_of_time():
            break
