"""Where to compute and in which number format."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from aligndiff.core import device as device_module
from aligndiff.core.device import (
    available_cores,
    choose_device,
    choose_dtype,
    describe_device,
    free_memory,
    known_precision,
    prefers_bfloat16,
    unusable_gpus,
    visible_gpus,
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


@pytest.mark.parametrize(
    ("named", "count", "gpus"),
    [
        ("0,1", 2, ["0", "1"]),
        (" 2 , 3 ", 2, ["2", "3"]),
        ("GPU-5ab,GPU-6cd", 2, ["GPU-5ab", "GPU-6cd"]),
        ("0,-1,1", 1, ["0"]),
        ("0,7", 1, ["0"]),  # CUDA ends the list at a number that is not there
        ("1,1", 0, []),  # and takes none of a list with one twice
        ("MIG-b1,MIG-b2", 1, ["MIG-b1", "MIG-b2"]),  # of the parts a process sees one
        ("0,1", 0, []),
        ("MIG-b1", 0, []),
        ("", 3, []),
        ("-1", 3, []),
    ],
)
def test_gpus_are_those_that_are_named_and_that_torch_can_use(
    named: str, count: int, gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_gpus(monkeypatch, count)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == gpus


def test_gpus_that_nobody_names_are_asked_for_where_a_driver_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend_gpus(monkeypatch, 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    driver = tmp_path / "driver"
    monkeypatch.setattr(device_module, "_DRIVERS", (str(driver),))
    assert visible_gpus() == []
    driver.touch()
    assert visible_gpus() == ["0", "1"]


def test_without_a_gpu_torch_is_not_imported() -> None:
    """It takes seconds, and 150 MB in a parent whose workers compute."""
    code = (
        "import sys; from aligndiff.core.device import *; "
        "print(describe_device('auto', known_precision('auto', 'auto'), 2), unusable_gpus()); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("device: cpu (") and done.stdout.endswith("2 processes None\n")


def test_gpus_that_torch_cannot_use_are_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert unusable_gpus() is None, "none are named"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    pretend_gpus(monkeypatch, 0)
    built = {"cuda": None, "hip": None}
    monkeypatch.setattr(torch, "version", SimpleNamespace(**built))
    reason = f"torch {torch.__version__} is built for CPUs only; install a build for CUDA"
    start = "CUDA_VISIBLE_DEVICES=0,1 is there, but torch cannot use it: "
    assert unusable_gpus() == start + reason
    with pytest.raises(InputError, match=r"sees no such device here \(torch .* is built for CPUs"):
        choose_device("cuda")

    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old\n(found version 11040)")

    monkeypatch.setattr(torch, "version", SimpleNamespace(**built | {"cuda": "13.0"}))
    monkeypatch.setattr(torch.cuda, "init", init)
    reason = "The NVIDIA driver on your system is too old (found version 11040)"
    assert unusable_gpus() == start + reason
    pretend_gpus(monkeypatch, 1)
    only = "CUDA_VISIBLE_DEVICES=0,1: torch can use only the first 1 of these GPUs"
    assert unusable_gpus() == only
    pretend_gpus(monkeypatch, 2)
    assert unusable_gpus() is None

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(device_module, "_NVIDIA", str(tmp_path / "driver"))
    monkeypatch.setattr(device_module, "_DRIVERS", (str(tmp_path / "driver"),))
    pretend_gpus(monkeypatch, 0)
    assert unusable_gpus() is None
    (tmp_path / "driver").touch()
    told = unusable_gpus()
    assert told is not None and told.startswith("a GPU is there, but torch cannot use it: The NV")


def test_this_build_of_torch_gives_its_own_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is pretended: GPUs are named that no machine has."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-00000000-0000-0000-0000-000000000000")
    told = unusable_gpus()
    assert told is not None and told.startswith("CUDA_VISIBLE_DEVICES=GPU-0") and ": " in told


def test_a_run_describes_its_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: AMD EPYC 9V74\n")
    assert device_module._cpu_name(tmp_path / "cpuinfo") == "AMD EPYC 9V74"
    assert device_module._cpu_name(tmp_path / "none") == platform.machine()
    monkeypatch.setattr(device_module, "_cpu_name", lambda: "AMD EPYC 9V74")
    monkeypatch.setattr(device_module, "_available_memory", lambda: 3 * 2**29)
    here = f"device: cpu (AMD EPYC 9V74, {available_cores()} cores, 1.5 GiB free), bfloat16, "
    assert describe_device("cpu", "bfloat16") == here + "1 process"
    assert describe_device("auto", "bfloat16", 3) == here + "3 processes"

    pretend_gpus(monkeypatch, 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Card {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**31))
    monkeypatch.setattr(device_module, "_free_on", lambda gpu: 2**32 if gpu == "0" else None)
    card = "device: cuda (Card 0, 1.0 GiB free), float16, 1 process"
    assert describe_device("auto", "float16") == card
    cards = "device: cuda (2 x Card 0, 4.0 GiB free on the first), float16, 4 processes"
    assert describe_device("cuda", "float16", 4) == cards


def test_what_a_gpu_that_is_not_there_has_free_is_not_known() -> None:
    assert device_module._free_on("GPU-00000000-0000-0000-0000-000000000000") is None
