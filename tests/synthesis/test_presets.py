"""Presets of step 2: what they stand for, and what wins over them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aligndiff.core.errors import InputError
from aligndiff.core.options import CommandLine, parse
from aligndiff.dataset.entries import Defaults
from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.diffusion.families import FAMILIES, Family
from aligndiff.diffusion.load import resolve_diffusion_model
from aligndiff.synthesis.config import SynthesisConfig
from aligndiff.synthesis.plan import plan_synthesis
from aligndiff.synthesis.presets import preset_values, synthesis_config
from scripts.example import copy_example

SD, FLUX = FAMILIES["StableDiffusionPipeline"], FAMILIES["FluxPipeline"]
BANK = Defaults(num_inference_steps=20, guidance_scale=4.0)


def line(*words: str) -> CommandLine:
    return parse("step", "", "", {"images": SynthesisConfig}, words)


def chosen(*words: str, defaults: Defaults = BANK, family: Family = SD) -> SynthesisConfig:
    return synthesis_config(line(*words), defaults, family)


def sampling(config: SynthesisConfig) -> tuple[int, str, float]:
    return config.num_inference_steps, config.scheduler, config.guidance_scale


def test_a_preset_wins_over_dataset_json_and_typed_options_over_both() -> None:
    assert sampling(chosen()) == (20, "default", 4.0)
    assert sampling(chosen("--preset", "fast")) == (12, "dpm++", 4.0)
    assert sampling(chosen("--preset", "method")) == (50, "default", 4.0)
    typed = ("--num_inference_steps", "16", "--guidance_scale", "2")
    assert sampling(chosen("--preset", "fast", *typed)) == (16, "dpm++", 2.0)
    assert sampling(chosen(*typed, "--preset", "fast", "--scheduler", "pndm"))[:2] == (16, "pndm")


def test_method_is_what_the_defaults_are() -> None:
    plain = chosen(defaults=Defaults())
    assert sampling(chosen("--preset", "method", defaults=Defaults())) == sampling(plain)


def test_fast_calls_the_network_at_most_24_times() -> None:
    assert 2 * preset_values("fast", SD)["num_inference_steps"] <= 24


def test_a_family_with_a_scheduler_of_its_own_keeps_it() -> None:
    assert sampling(chosen("--preset", "fast", family=FLUX))[:2] == (12, "default")
    assert sampling(chosen("--preset", "method", family=FLUX))[:2] == (28, "default")
    few = FAMILIES["Flux2KleinPipeline"]
    assert sampling(chosen("--preset", "fast", family=few))[:2] == (4, "default")


def test_an_interval_needs_a_half_to_leave_out() -> None:
    with pytest.raises(InputError, match="--guidance_interval: FLUX.1 .* no unconditional half"):
        chosen("--guidance_interval", "300", "1000", family=FLUX)
    for words, problem in (
        (("--guidance_interval", "300"), "takes two numbers, the lower one first"),
        (("--guidance_interval", "800", "300"), "takes two numbers, the lower one first"),
        (("--guidance_interval", "0", "1001"), "must be 0 to 1000"),
        (("--guidance_interval", "0", "500", "--guidance_scale", "1"), "needs guidance"),
    ):
        with pytest.raises(InputError, match=f"--guidance_interval: {problem}"):
            chosen(*words)


def test_records_tell_the_preset_and_samples_depend_on_what_it_stands_for(tmp_path: Path) -> None:
    bank = load_prompt_bank(copy_example(tmp_path / "example", texts_only=True), ("fish",))
    model = resolve_diffusion_model("tiny", None)

    def record(*words: str) -> tuple[dict[str, object], str]:
        plan = plan_synthesis(bank, model, chosen(*words), "float32")[0]
        return plan.record.settings, plan.record.fingerprint

    fast, explicit = record("--preset", "fast"), record("--scheduler", "dpm++")
    assert fast[0]["preset"] == "fast" and fast[0]["num_inference_steps"] == 12
    assert "preset" not in explicit[0] and explicit[1] != fast[1]
    spelled_out = record("--scheduler", "dpm++", "--num_inference_steps", "12")
    assert spelled_out[1] == fast[1]
    guided = record("--preset", "fast", "--guidance_interval", "300", "1000")
    assert guided[0]["guidance_interval"] == [300.0, 1000.0] and guided[1] != fast[1]
