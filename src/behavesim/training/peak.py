"""How many floating point operations a device can do in a second, at best."""

import re
import time
from functools import cache

import torch

# TFLOP/s of dense matrix products as the makers' data sheets have them, without sparsity, which doubles the headline
# figure: half precision with sums in fp32, TF32, fp32. Lightning's own table counts some GPUs with sparsity, some
# without their matrix units, and does not know the H200. Of names that begin alike, the longer one comes first.
GPUS = {
    "B200": (2250.0, 1125.0, 75.0),
    "H200": (989.4, 494.7, 66.9),
    "H100 NVL": (835.5, 417.5, 60.0),
    "H100 PCIe": (756.0, 378.0, 51.2),
    "H100": (989.4, 494.7, 66.9),
    "A100": (312.0, 156.0, 19.5),
    "A6000": (154.8, 77.4, 38.7),
    "RTX 6000 Ada": (364.2, 182.1, 91.1),
    "L40S": (362.0, 183.0, 91.6),
    "L40": (181.0, 90.5, 90.5),
    "A40": (149.7, 74.8, 37.4),
    "L4": (121.0, 60.0, 30.3),
    "RTX 4090": (165.2, 82.6, 82.6),
    "RTX 3090": (71.0, 35.6, 35.6),
}
# Of the matrices by which a CPU is measured: their product takes a millisecond or two, which passes undisturbed on a
# busy machine too. With a side of 1024 such a machine seemed to have a quarter of its speed.
SIDE = 512
SECONDS = 0.5  # for which it is measured


def peak_flops(device: torch.device, dtype: torch.dtype, *, measure_cpu: bool = False) -> float | None:
    """Operations a second of `device` with numbers of `dtype`.

    Args:
        device: a GPU is looked up by its name.
        dtype: of the factors of matrix products.
        measure_cpu: measure a CPU, with the threads that this process has; takes half a second, once.

    Returns:
        None for a GPU that is not listed, and for a CPU that is not measured.
    """
    if device.type == "cuda":
        return _listed(torch.cuda.get_device_name(device), dtype)
    return _measured(dtype, torch.get_num_threads()) if measure_cpu and device.type == "cpu" else None


def _listed(name: str, dtype: torch.dtype) -> float | None:
    for known, (half, tf32, single) in GPUS.items():
        if re.search(rf"\b{known}\b", name):  # whole words: an RTX A4000 is no A40
            if dtype in (torch.float16, torch.bfloat16):
                return half * 1e12
            return (single if torch.get_float32_matmul_precision() == "highest" else tf32) * 1e12
    return None


@cache
def _measured(dtype: torch.dtype, _threads: int) -> float:
    """The best of many products of two matrices."""
    left, right = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(2))
    best, until = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * SIDE**3 / best
