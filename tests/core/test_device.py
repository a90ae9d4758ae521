"""Where to compute and in which number format."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aligndiff.core import device as device_module
from aligndiff.core.device import (
    choose_device,
    choose_dtype,
    free_memory,
    known_precision,
    prefers_bfloat16,
)
from aligndiff.core.errors import InputError


def pretend_gpus(monkeypatch: pytest.MonkeyPatch, count: int, bfloat16: bool = True) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)


def test_auto_takes_the_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    pretend_gpus(monkeypatch, 0)
    assert choose_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    pretend_gpus(monkeypatch, 1)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("variable", ["ALIGNDIFF_RANK", "LOCAL_RANK", "SLURM_LOCALID"])
def test_processes_that_see_the_same_gpus_take_them_in_turn(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    pretend_gpus(monkeypatch, 4)
    monkeypatch.setenv(variable, "6")
    assert choose_device("cuda") == torch.device("cuda", 2)


def test_a_device_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_gpus(monkeypatch, 0)
    with pytest.raises(InputError, match="--device cuda: torch sees no such device here"):
        choose_device("cuda")
    with pytest.raises(InputError, match="must be auto, cpu, cuda or mps, not tpu"):
        choose_device("tpu")


def test_auto_precision_is_what_the_device_is_good_at(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    pretend_gpus(monkeypatch, 1, bfloat16=True)
    assert choose_dtype("auto", gpu) == torch.bfloat16
    pretend_gpus(monkeypatch, 1, bfloat16=False)
    assert choose_dtype("auto", gpu) == torch.float16
    for pays, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(device_module, "prefers_bfloat16", lambda pays=pays: pays)
        assert choose_dtype("auto", torch.device("cpu")) == dtype
    assert choose_dtype("auto", torch.device("mps")) == torch.float32
    assert choose_dtype("float32", gpu) == torch.float32
    assert choose_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16


def test_float16_on_a_cpu_and_unknown_words_are_refused() -> None:
    with pytest.raises(InputError, match="--precision float16 needs a GPU"):
        choose_dtype("float16", torch.device("cpu"))
    with pytest.raises(InputError, match="not half"):
        choose_dtype("half", torch.device("cpu"))


def test_settings_record_a_number_format_and_not_a_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for pays, name in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(device_module, "prefers_bfloat16", lambda pays=pays: pays)
        assert known_precision("auto", "auto") == name
        assert known_precision("auto", "cpu") == name
        assert known_precision("auto", "mps") == "float32"
    assert known_precision("bfloat16", "cpu") == "bfloat16"


@pytest.mark.parametrize(
    ("cpu", "pays"),
    [
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16 clzero", True),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", True),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", False),
        ("vendor_id : AuthenticAMD\nflags : avx2", False),
        (None, False),
    ],
)
def test_bfloat16_on_cpus_that_were_faster_with_it(
    cpu: str | None, pays: bool, tmp_path: Path
) -> None:
    if cpu is not None:
        (tmp_path / "cpuinfo").write_text(cpu)
    assert prefers_bfloat16(tmp_path / "cpuinfo") == pays


def test_free_memory_is_what_the_system_or_the_card_tells(monkeypatch, tmp_path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  16000 kB\nMemFree:  1000 kB\nMemAvailable:    3000 kB\n")
    assert device_module._available_memory(meminfo) == 3000 * 1024
    assert device_module._available_memory(tmp_path / "not there") is None
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7, 9))
    assert free_memory(torch.device("cuda", 0)) == 7
    assert free_memory(torch.device("mps")) is None
    monkeypatch.setattr(device_module, "_available_memory", lambda: 12)
    assert free_memory(torch.device("cpu")) == 12
    monkeypatch.setenv("ALIGNDIFF_RANK", "1")
    monkeypatch.setenv("ALIGNDIFF_WORLD_SIZE", "3")
    assert free_memory(torch.device("cpu")) == 4, "three processes of ours share it"
