"""The script that has backgrounds drawn, and scenes composed of what it drew."""

from __future__ import annotations

from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.dataset.layout import BACKGROUNDS
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.records import EntryRecord
from aligndiff.dataset.scenes import stored_scenes
from aligndiff.synthesis.background_prompts import read_background_prompts, thing_of
from scripts import compose_scenes, draw_backgrounds


def test_backgrounds_are_drawn_once_and_found(
    refined_dir: Path, tiny_pipeline_dir: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("# places\na photo of water\n\nfish: a photo of a fish\n")
    words = ["--dataset_dir", str(refined_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    words += ["--prompts", str(prompts), "--image_per_entry", "2", "--num_inference_steps", "1"]
    assert draw_backgrounds.main([*words, "--device", "cpu"]) == 0
    folders = sorted((refined_dir / BACKGROUNDS).iterdir())
    things = [EntryRecord.read(folder / "entry.json").settings["thing"] for folder in folders]
    assert things == ["fish", ""]
    stamps = [path.stat().st_mtime_ns for path in refined_dir.rglob("generated_images/*.jpg")]
    assert draw_backgrounds.main([*words, "--device", "cpu"]) == 0
    assert stamps == [p.stat().st_mtime_ns for p in refined_dir.rglob("generated_images/*.jpg")]
    assert (refined_dir / "sheets" / "backgrounds.png").exists()

    assert compose_scenes.main(["--dataset_dir", str(refined_dir), "--count", "8"]) == 0
    grounds = {
        (scene.category, part.name.split("-")[0])
        for scene in stored_scenes(load_prompt_bank(refined_dir))
        for part in scene.record.parts
        if part.source == "background"
    }
    # A fish that was drawn is no ground for another one.
    assert grounds == {("fish", "water"), ("albatross", "water"), ("albatross", "fish")}


def test_prompts_that_cannot_be_used_are_told_with_their_lines(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a photo of a beach\ncat: a photo of a dog\n: \n")
    with pytest.raises(InputError) as told:
        read_background_prompts(prompts)
    lines = [problem.split(": ")[1] for problem in told.value.problems]
    assert list(dict.fromkeys(lines)) == ["line 2", "line 3"]
    prompts.write_text("# nothing\n")
    with pytest.raises(InputError, match="holds no prompts"):
        read_background_prompts(prompts)


def test_the_built_in_prompts_are_places_and_things() -> None:
    entries = read_background_prompts(None)
    things = [thing_of(entry) for entry in entries]
    assert len(entries) == 40 and things.count("") == 20
    assert all(thing in entry.text for entry, thing in zip(entries, things, strict=True))
