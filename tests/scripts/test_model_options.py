"""The options of the model, as commands: what is told before it loads, and what cannot be mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from aligndiff.core.errors import InputError
from scripts import diffuse_img_attention, image_mask_inversion
from scripts.reporting import without_bars

LAYER = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
QUICKLY = ("--num_inference_steps", "1", "--image_per_class", "1", "--device", "cpu", "--no_sheet")


def test_samples_of_one_lora_are_not_continued_with_another(
    dataset_dir: Path, tiny_pipeline_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lora = tmp_path / "look.safetensors"
    save_file(
        {f"{LAYER}.lora_A.weight": torch.ones(2, 32), f"{LAYER}.lora_B.weight": torch.ones(16, 2)},
        lora,
    )
    command = ["--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    command += ["--categories", "albatross", *QUICKLY]
    assert diffuse_img_attention.main([*command, "--lora", f"{lora}:0.5"]) == 0
    told = capsys.readouterr()
    assert without_bars(told.err) == []
    (memory,) = [line for line in told.out.splitlines() if line.startswith("memory: about ")]
    assert "for each image of 64 px that is drawn at once; " in memory
    for other in ([], ["--lora", f"{lora}:0.6"], ["--lora", f"{lora}:0.5", "--lora", str(lora)]):
        with pytest.raises(InputError, match="were made with other settings .diffusion_model was"):
            diffuse_img_attention.main([*command, *other])
    assert diffuse_img_attention.main([*command, "--lora", f"{lora}:0.5"]) == 0
    assert "memory: " not in capsys.readouterr().out, "nothing is loaded where nothing is missing"


def test_step_1_refuses_to_move_networks_away(dataset_dir: Path, tiny_pipeline_dir: Path) -> None:
    command = ["--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    with pytest.raises(InputError, match="^--offload model: step 1 needs text encoders and denois"):
        image_mask_inversion.main([*command, "--offload", "model", "--device", "cpu"])


def test_a_learned_word_is_not_for_the_negative_prompt(
    dataset_dir: Path, tiny_pipeline_dir: Path
) -> None:
    command = ["--dataset_dir", str(dataset_dir), "--diffusion_model", str(tiny_pipeline_dir)]
    with pytest.raises(
        InputError, match='^--negative_prompt: "<fss-token>" stands for what step 1'
    ):
        diffuse_img_attention.main([*command, "--negative_prompt", "a <fss-token>"])
