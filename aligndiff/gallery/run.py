"""The command that makes a gallery."""

from __future__ import annotations

from collections.abc import Sequence

from aligndiff.core.console import progress, quiet_libraries, say, table, warn
from aligndiff.core.files import check_writable
from aligndiff.core.options import parse
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.gallery.cache import draw_missing
from aligndiff.gallery.config import GalleryConfig, ViewOptions
from aligndiff.gallery.plan import Gallery, plan_gallery
from aligndiff.gallery.write import check_output, output_files, write_page

DESCRIPTION = (
    "Make a gallery of a dataset folder: a page to look through the samples and mark the bad ones."
)
EPILOG = (
    "The page opens from disk and needs no network. Running it again draws only what is new. "
    "docs/VIEW.md says what the page can do."
)


def main(argv: Sequence[str], prog: str = "python -m scripts.view_dataset") -> int:
    """Parse, validate, draw what is missing, write the page, report; returns the exit code."""
    configs = {"gallery": ViewOptions, "pictures": GalleryConfig}
    line = parse(prog, DESCRIPTION, EPILOG, configs, argv)
    options, config = line.config(ViewOptions), line.config(GalleryConfig)
    quiet_libraries()
    bank = load_prompt_bank(options.dataset_dir, options.categories)
    output = options.output_dir or bank.root / "gallery"
    check_output(output)
    check_writable(output_files(output))
    gallery = plan_gallery(bank, output, config)
    chunks = list(gallery.chunks)
    kept = sum(len(chunk.stats) for chunk in chunks)
    with progress("drawing", kept + sum(len(chunk.missing) for chunk in chunks), kept) as advance:
        draw_missing(chunks, advance)
    problems = [problem for chunk in chunks for problem in chunk.problems]
    for problem in problems:
        warn(f"failed: {problem}")
    index = write_page(gallery, bank.root.resolve().name)
    _report(gallery)
    say(f"gallery, open it in a browser: {index.resolve()}")
    return 1 if problems else 0


def _report(gallery: Gallery) -> None:
    """Print what was drawn, class by class."""
    rows = []
    for category in dict.fromkeys(section.entry.category for section in gallery.entries):
        sections = [section for section in gallery.entries if section.entry.category == category]
        chunks = [chunk for section in sections for chunk in section.chunks]
        failed = sum(len(chunk.problems) for chunk in chunks)
        drawn = sum(len(chunk.missing) for chunk in chunks) - failed
        shown = sum(len(chunk.stats) for chunk in chunks)
        rows.append((category, shown, drawn, shown - drawn, failed))
    table("samples", ("class", "shown", "drawn", "kept", "failed"), rows)
