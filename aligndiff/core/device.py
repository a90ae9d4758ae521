"""Where to compute, in which number format, and what to do when the memory is full."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aligndiff.core.errors import InputError, is_out_of_memory, one_line
from aligndiff.core.ranks import launched_share

if TYPE_CHECKING:
    import torch

# Where the driver of a GPU shows itself: NVIDIA's, Tegra's, that of WSL, AMD's.
_NVIDIA = "/dev/nvidiactl"
_DRIVERS = (_NVIDIA, "/dev/nvmap", "/dev/dxg", "/dev/kfd")

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

PRECISION_HELP = (
    "number format of the network; auto is 16 bits on a GPU, and on a CPU that is faster with it, "
    "else float32"
)
# A process of ours, of torchrun and of Slurm knows its place on the machine by one of these.
LOCAL_RANK_VARIABLES = ("ALIGNDIFF_RANK", "LOCAL_RANK", "SLURM_LOCALID")


def choose_device(name: str = "auto") -> torch.device:
    """The device of this process: "auto" takes CUDA, else MPS, else the CPU.

    Processes that see the same GPUs take them in turn, by their local rank.
    Raises InputError for a device that this machine (or this torch) has not.
    """
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if name not in available:
        raise InputError(f"--device must be auto, cpu, cuda or mps, not {name}")
    if not available[name]:
        reason = f" ({_why_no_cuda()})" if name == "cuda" else ""
        raise InputError(
            f"--device {name}: torch sees no such device here{reason}; use --device cpu"
        )
    if name == "cuda":
        return torch.device("cuda", _local_rank() % torch.cuda.device_count())
    return torch.device(name)


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The number format of a network on `device`.

    "auto" is bfloat16 on a GPU or CPU that is faster with it, float16 on another GPU, else float32.
    Raises InputError for another word, and for float16 on a CPU, where it is slow and overflows.
    """
    import torch

    if precision == "auto":
        if device.type == "cpu":
            return torch.bfloat16 if prefers_bfloat16() else torch.float32
        if device.type != "cuda":
            return torch.float32
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if precision not in dtypes:
        raise InputError(f"--precision must be auto or one of {', '.join(dtypes)}, not {precision}")
    if precision == "float16" and device.type == "cpu":
        raise InputError("--precision float16 needs a GPU; use float32 or bfloat16 on a CPU")
    return dtypes[precision]


def known_precision(precision: str, device_name: str) -> str:
    """What "auto" comes to here, by name, so that settings record a number format and not a wish.

    On a CPU this costs nothing: torch is only asked about a card that may be there.
    """
    if precision != "auto":
        return precision
    if device_name == "mps":
        return "float32"
    if device_name == "cpu" or (device_name == "auto" and not visible_gpus()):
        return "bfloat16" if prefers_bfloat16() else "float32"
    return str(choose_dtype(precision, choose_device(device_name))).removeprefix("torch.")


def prefers_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU draws, learns and segments faster in bfloat16, by what it is (Linux on x86).

    Asked of the CPU's name and not of a clock: the answer goes into the records, and must be the
    same whatever else the machine is doing. AVX-512 BF16 alone does not tell: AMD's Zen 4 gains
    with it, an Intel Xeon without AMX was slower by up to two thirds.
    """
    try:
        text = cpuinfo.read_text()
    except OSError:
        return False
    flags = set(re.findall(r"\w*bf16\w*", text))
    return "amx_bf16" in flags or ("avx512_bf16" in flags and "AuthenticAMD" in text)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device now, a CPU's shared with our other processes.

    None where nothing tells.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    available = _available_memory() if device.type == "cpu" else None
    share = launched_share()
    return available if available is None or share is None else available // share.world_size


def try_or_oom(work: Callable[[], Result]) -> Result | None:
    """What `work` returns; None when the memory did not suffice, and then what it held is free."""
    import torch

    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Only here is the error gone, and with it the frames that held the tensors.
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    return None


def halve_batch(size: int, things: str) -> int:
    """Half of a batch that did not fit in the memory, told in one line."""
    half = size // 2
    logger.warning("note: out of memory with %d %s at once, going on with %d", size, things, half)
    return half


def _available_memory(meminfo: Path = Path("/proc/meminfo")) -> int | None:
    """Bytes that programs can still take, as Linux tells it; None on other systems."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _local_rank() -> int:
    for variable in LOCAL_RANK_VARIABLES:
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return 0


def visible_gpus() -> list[str]:
    """The GPUs that torch can use here, as entries for CUDA_VISIBLE_DEVICES (numbers or UUIDs).

    Torch counts them, without a CUDA context, which would take memory of the cards. It is imported
    only where a GPU is named or has a driver. Of a GPU that is split (MIG) a process can use one
    part: all of them count when CUDA_VISIBLE_DEVICES names them, else the first.
    """
    named = _named_gpus()
    if named == [] or (named is None and not any(map(os.path.exists, _DRIVERS))):
        return []
    import torch

    count = torch.cuda.device_count()
    if named is None:
        return [str(number) for number in range(count)]
    return named if named[0].startswith("MIG-") and count else named[:count]


def unusable_gpus() -> str | None:
    """Why torch cannot use GPUs that are here, or that CUDA_VISIBLE_DEVICES names; None if it can.

    The line is meant for a warning where --device is auto: all would be done on the CPU.
    """
    named = _named_gpus()
    if named == [] or (named is None and not os.path.exists(_NVIDIA)):
        return None
    usable = len(visible_gpus())
    if usable >= len(named or "1"):
        return None
    gpus = "a GPU" if named is None else f"CUDA_VISIBLE_DEVICES={','.join(named)}"
    if usable:
        return f"{gpus}: torch can use only the first {usable} of these GPUs"
    return f"{gpus} is there, but torch cannot use it: {_why_no_cuda()}"


def describe_device(device_name: str, precision: str, processes: int = 1) -> str:
    """Where a run computes, in one line: device, name, free memory, precision, processes.

    `precision` is a number format by name. Does not import torch where there is no GPU.
    """
    gpus = visible_gpus() if device_name in ("auto", "cuda") else []
    if gpus:
        where = _describe_gpus(gpus[: max(processes, 1)])
    elif device_name == "mps" or (sys.platform == "darwin" and device_name == "auto"):
        where = f"{choose_device(device_name).type} ({platform.machine()})"
    else:
        free = _gib(_available_memory())
        where = f"cpu ({_cpu_name()}, {available_cores()} cores{free})"
    count = "1 process" if processes < 2 else f"{processes} processes"
    return f"device: {where}, {precision}, {count}"


def free_on_device(device_name: str) -> tuple[int | None, bool]:
    """Bytes that are free where a run will compute, the first GPU's or the CPU's; whether on a GPU.

    Asked in another process where it is a GPU, so that this one stays without a CUDA context.
    """
    gpus = visible_gpus() if device_name in ("auto", "cuda") else []
    return (_free_on(gpus[0]), True) if gpus else (_available_memory(), False)


def _describe_gpus(gpus: Sequence[str]) -> str:
    import torch

    name = torch.cuda.get_device_name(_local_rank() % torch.cuda.device_count())
    if len(gpus) == 1:
        return f"cuda ({name}{_gib(free_memory(choose_device('cuda')))})"
    return f"cuda ({len(gpus)} x {name}{_gib(_free_on(gpus[0]))} on the first)"


def _free_on(gpu: str) -> int | None:
    """Bytes that are free on a GPU, asked in a process of its own.

    A CUDA context in this process would take memory of the card for as long as its workers run.
    """
    code = "import torch; print(torch.cuda.mem_get_info()[0])"
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 else None


def _gib(size: int | None) -> str:
    return "" if size is None else f", {size / 2**30:.1f} GiB free"


def available_cores() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _named_gpus() -> list[str] | None:
    """The entries of CUDA_VISIBLE_DEVICES; None where it is not set."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return None
    entries = [entry.strip() for entry in variable.split(",")]
    # CUDA ignores what follows an invalid entry.
    return list(itertools.takewhile(lambda entry: entry not in ("", "-1", "NoDevFiles"), entries))


def _why_no_cuda() -> str:
    import torch

    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for CPUs only; install a build for CUDA"
    try:
        torch.cuda.init()
    except RuntimeError as error:
        return one_line(str(error))
    return "it finds none"


def _cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The name of this machine's CPU, as Linux tells it, else its architecture."""
    try:
        match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.machine()
