"""Make a dataset folder from annotated photos: pairs, COCO, labelme, VOC, YOLO, CVAT and others."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from aligndiff.core.exits import exit_with
from aligndiff.core.options import OneLineParser
from aligndiff.preparation.config import PrepareConfig, add_prepare_options
from aligndiff.preparation.run import run
from aligndiff.preparation.sources import FORMATS

MODULE = "scripts.prepare_dataset"
EPILOG = "SOURCE is never written to. Running it again adds what is new. docs/YOUR_PHOTOS.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, check, prepare; returns the exit code."""
    layouts = "; ".join(f"{known.name}: {known.layout}" for known in FORMATS.values())
    parser = OneLineParser(
        prog=f"python -m {MODULE}",
        description=__doc__,
        epilog=f"What is read: {layouts}. {EPILOG}",
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    add_prepare_options(parser, tuple(FORMATS))
    typed = vars(parser.parse_args(argv))
    return run(PrepareConfig(**typed | {"category": tuple(typed.get("category", ()))}))


if __name__ == "__main__":
    exit_with(main)
