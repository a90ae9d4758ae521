"""The command `aligndiff`, with what the scripts do as sub-commands: `python -m aligndiff` too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from aligndiff.core.exits import exit_with
from aligndiff.core.options import choose_command

PROG = "aligndiff"
DESCRIPTION = "From a handful of annotated photos of an object, a large image + mask dataset of it."
# Each is the name of a script, too. The module's `main(argv, prog)` does it.
COMMANDS = {
    "prepare_dataset": ("aligndiff.preparation.run", "a dataset folder from annotated photos"),
    "augment_prompts": ("aligndiff.prompts.run", "more texts for the prompt bank"),
    "image_mask_inversion": ("aligndiff.inversion.step", "step 1: learn each object"),
    "diffuse_img_attention": ("aligndiff.synthesis.step", "step 2: generate images and heatmaps"),
    "mask_generation": ("aligndiff.refinement.step", "step 3: refine the masks"),
    "draw_backgrounds": ("aligndiff.synthesis.backgrounds", "have backgrounds for scenes drawn"),
    "compose_scenes": ("aligndiff.scenes.step", "paste the object into other photos"),
    "view_dataset": ("aligndiff.gallery.run", "a page to look through the samples"),
    "export_dataset": ("aligndiff.export.run", "write them in a layout that others read"),
    "evaluate": ("aligndiff.evaluation.run", "score masks, a segmenter, or synthetic support"),
    "train_segmenter": ("aligndiff.training.run", "train the segmenter of step 3"),
}


def run(argv: Sequence[str]) -> int:
    """Do what the command line says; returns the exit code."""
    texts = {name: text for name, (_, text) in COMMANDS.items()}
    name, rest = choose_command(PROG, DESCRIPTION, texts, argv)
    module, _ = COMMANDS[name]
    code: int = import_module(module).main(rest, f"{PROG} {name}")
    return code


def main() -> None:
    """The entry point of the installed command."""
    exit_with(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()
