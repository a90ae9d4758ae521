"""The sources of texts, by their names in files and in `dataset.json`."""

from __future__ import annotations

from aligndiff.prompts.sources import captions, llm, templates
from aligndiff.prompts.sources.source import TextSource

DEFAULT = templates.SOURCE  # where none is asked for: needs nothing
SOURCES: dict[str, TextSource] = {
    source.name: source for source in (templates.SOURCE, captions.SOURCE, llm.SOURCE)
}
