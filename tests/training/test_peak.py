"""What devices can do at best."""

import pytest
import torch

from behavesim.training import peak
from behavesim.training.peak import GPUS, peak_flops

NAMES = {
    "NVIDIA H100 80GB HBM3": "H100",
    "NVIDIA H100 PCIe": "H100 PCIe",
    "NVIDIA H100 NVL": "H100 NVL",
    "NVIDIA H200": "H200",
    "NVIDIA A100-SXM4-80GB": "A100",
    "NVIDIA RTX A6000": "A6000",
    "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada",
    "NVIDIA L40S": "L40S",
    "NVIDIA L4": "L4",
    "NVIDIA GeForce RTX 4090": "RTX 4090",
}


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of this name, in a machine that has none."""

    def call(name, dtype):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: name)
        return peak_flops(torch.device("cuda", 0), dtype)

    return call


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_listed_gpu_is_found_by_its_name(gpu, name, dtype):
    assert gpu(name, dtype) == pytest.approx(GPUS[NAMES[name]][0] * 1e12)


@pytest.mark.parametrize("name", ["NVIDIA RTX A4000", "NVIDIA A10", "NVIDIA A100X", "Quadro RTX 8000", "Tesla T4"])
def test_a_gpu_that_is_not_listed_has_no_figure(gpu, name):
    assert gpu(name, torch.float16) is None


def test_single_precision_goes_by_the_form_of_its_products(gpu, monkeypatch):
    assert gpu("NVIDIA H200", torch.float32) == pytest.approx(66.9e12)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert gpu("NVIDIA H200", torch.float32) == pytest.approx(494.7e12)


def test_half_precision_is_faster_than_tf32_and_that_than_fp32():
    assert all(half > tf32 >= single for half, tf32, single in GPUS.values())


def test_a_cpu_is_measured_on_request(monkeypatch):
    monkeypatch.setattr(peak, "SECONDS", 0.05)
    assert peak_flops(torch.device("cpu"), torch.float32) is None
    found = peak_flops(torch.device("cpu"), torch.float32, measure_cpu=True)
    assert 1e8 < found < 1e14
    assert peak_flops(torch.device("cpu"), torch.float32, measure_cpu=True) == found  # once


def test_other_devices_have_no_figure():
    assert peak_flops(torch.device("meta"), torch.float32, measure_cpu=True) is None
