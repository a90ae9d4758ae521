"""Make everything in pretrained_weights/ again, and the example dataset.

The parts, in order (each stops after --minutes, continues when called again, and is done after
its number of steps; a checkpoint, a log.jsonl and a picture to look at lie in WORK_DIR/<part>/):

  python -m scripts.tiny_world.train vae      images to latents and back
  python -m scripts.tiny_world.train unet     captions to latents: UNet and text encoder (needs vae)
  python -m scripts.tiny_world.train ssp      the few-shot segmenter, by episodes
  python -m scripts.tiny_world.train judge    the judge of images, with full supervision
  python -m scripts.tiny_world.train network  a small segmenter of base categories, to start from
  python -m scripts.tiny_world.train publish  write pretrained_weights/ from the five
  python -m scripts.tiny_world.train example  draw example_dataset/ (needs no training)
  python -m scripts.tiny_world.train all      these five and publish, one after the other
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from aligndiff.core.errors import InputError
from aligndiff.core.exits import exit_with
from scripts.reporting import REPOSITORY


@dataclass(frozen=True)
class ModelRecipe:
    """How a part is trained: the figures that made the published weights."""

    steps: int
    batch_size: int
    rate: float  # peak learning rate
    scenes: int  # rendered scenes, of ssp identities of four scenes


RECIPES = {
    "vae": ModelRecipe(steps=5500, batch_size=16, rate=2e-3, scenes=6000),
    "unet": ModelRecipe(steps=8500, batch_size=48, rate=1e-3, scenes=36000),
    "ssp": ModelRecipe(steps=2000, batch_size=6, rate=2e-3, scenes=1500),
    "judge": ModelRecipe(steps=6000, batch_size=16, rate=3e-3, scenes=6000),
    "network": ModelRecipe(steps=5000, batch_size=48, rate=3e-3, scenes=18000),
}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tiny_world.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=[*RECIPES, "publish", "example", "all"])
    parser.add_argument(
        "--work_dir", type=Path, default=Path("runs/tiny_world"), help="checkpoints and logs"
    )
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=None,
        help="where publish and example write (default: pretrained_weights, example_dataset)",
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop a part after so long"
    )
    parser.add_argument("--steps", type=int, help="optimizer steps of a part, instead of its own")
    parser.add_argument("--scenes", type=int, help="scenes to draw for a part, instead of its own")
    parser.add_argument("--batch_size", type=int, help="batch size of a part, instead of its own")
    parser.add_argument("--rate", type=float, help="peak learning rate, instead of the part's own")
    parser.add_argument(
        "--previews", type=int, default=4, help="samples of each prompt drawn with a checkpoint"
    )
    parser.add_argument(
        "--start_from",
        type=Path,
        help="folder of published weights (pretrained_weights) that a part starts from; unet keeps "
        "their VAE",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--compile", action="store_true", help="compile the UNet (needs a C++ compiler)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes that draw scenes")
    return parser


def train_part(part: str, args: argparse.Namespace) -> None:
    from scripts.tiny_world.train.judge import train_judge
    from scripts.tiny_world.train.network import train_network
    from scripts.tiny_world.train.run import Run
    from scripts.tiny_world.train.ssp import train_ssp
    from scripts.tiny_world.train.unet import train_unet
    from scripts.tiny_world.train.vae import train_vae

    recipe = RECIPES[part]
    start: Path | None = args.start_from
    if args.rate:
        recipe = replace(recipe, rate=args.rate)
    if start and not (start / "tiny").is_dir():
        raise InputError(f"--start_from {start}: has no folder tiny; name what publish has written")
    steps = args.steps or recipe.steps
    run = Run(args.work_dir / part, steps, args.minutes, previews=args.previews)
    rest = (
        args.scenes or recipe.scenes,
        args.batch_size or recipe.batch_size,
        recipe.rate,
        args.device,
        args.workers,
    )
    if part == "vae":
        train_vae(run, *rest, start and start / "tiny" / "vae")
    elif part == "unet":
        pipeline = start and start / "tiny"
        vae = pipeline / "vae" if pipeline else args.work_dir / "vae" / "vae"
        train_unet(run, vae, *rest, args.compile, pipeline)
    elif part == "ssp":
        train_ssp(run, *rest, start and start / "tiny_ssp.safetensors")
    elif part == "judge":
        train_judge(run, *rest, start and start / "tiny_judge.safetensors")
    else:
        train_network(run, *rest, start and start / "tiny_network.safetensors")


def publish(work_dir: Path, output_dir: Path) -> None:
    """Write the trained networks as float16 safetensors: ``tiny/`` and one file of each other.

    Every part must have been trained; InputError, before anything is written, if one was not.
    """
    pipeline_folder = work_dir / "unet" / "pipeline"
    single_files = [
        work_dir / part / f"tiny_{part}.safetensors" for part in ("ssp", "judge", "network")
    ]
    for path in (pipeline_folder, *single_files):
        if not path.exists():
            part = path.parent.name
            raise InputError(f"{path}: not there yet; train the part {part} before publish")
    import torch
    from diffusers import StableDiffusionPipeline

    from scripts.tiny_world.train.text_to_latents import (
        CLIP_WORD_SPREAD,
        WORD_SPREAD,
        shrink_residual_stream,
    )

    pipeline = StableDiffusionPipeline.from_pretrained(
        pipeline_folder, dtype=torch.float32, safety_checker=None
    )
    shrink_residual_stream(pipeline.text_encoder, CLIP_WORD_SPREAD / WORD_SPREAD)
    pipeline.to(torch.float16)
    pipeline.save_pretrained(output_dir / "tiny", safe_serialization=True)
    for path in (output_dir / "tiny").rglob("*.json"):
        forget_where_it_was(path)
    for path in single_files:
        shutil.copyfile(path, output_dir / path.name)


def forget_where_it_was(path: Path) -> None:
    """Take the folder that a model was loaded from out of its configuration."""
    config = json.loads(path.read_text())
    if config.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(config, indent=2) + "\n")


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    if args.part == "example":
        from scripts.tiny_world.make_example import make_example

        make_example(args.output_dir or REPOSITORY / "example_dataset")
        return 0
    for part in RECIPES if args.part == "all" else [args.part]:
        if part in RECIPES:
            train_part(part, args)
    if args.part in ("all", "publish"):
        publish(args.work_dir, args.output_dir or REPOSITORY / "pretrained_weights")
    return 0


if __name__ == "__main__":
    exit_with(main)
