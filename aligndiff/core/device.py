"""Where to compute, in which number format, and what to do when the memory is full."""

from __future__ import annotations

import gc
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from aligndiff.core.errors import InputError, is_out_of_memory
from aligndiff.core.ranks import launched_share

if TYPE_CHECKING:
    import torch

_GPU_LINE = re.compile(r"^(?P<indent>\s*)(?:GPU|MIG)\b.*\(UUID:\s*(?P<uuid>[^)\s]+)\)")

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
        raise InputError(f"--device {name}: torch sees no such device here; use --device cpu")
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
        found = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _local_rank() -> int:
    for variable in LOCAL_RANK_VARIABLES:
        if os.environ.get(variable, "").isdigit():
            return int(os.environ[variable])
    return 0


def visible_gpus() -> list[str]:
    """The GPUs this process may use, as entries for CUDA_VISIBLE_DEVICES (numbers or UUIDs).

    Does not import torch: asks CUDA_VISIBLE_DEVICES, else `nvidia-smi -L`. Empty when there is
    none. A GPU that is split (MIG) counts as its parts.
    """
    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    if said is not None:
        entries = []
        for entry in (part.strip() for part in said.split(",")):
            if entry in ("", "-1", "NoDevFiles"):
                break  # CUDA ignores what follows an invalid entry
            entries.append(entry)
        return list(dict.fromkeys(entries))
    return _parse_gpu_list(_ask_nvidia_smi())


def _ask_nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout if answer.returncode == 0 else ""


def _parse_gpu_list(text: str) -> list[str]:
    """UUIDs from `nvidia-smi -L`; the parts of a split GPU are indented below it."""
    found: list[str] = []
    for line in text.splitlines():
        match = _GPU_LINE.match(line)
        if match is None:
            continue
        uuid = match["uuid"]
        # A split GPU cannot be used whole: its first part takes its place.
        if uuid.startswith("MIG-") and found and not found[-1].startswith("MIG-"):
            found.pop()
        found.append(uuid)
    return found
