"""All code that knows about a particular device. The rest of the service sees `Device` and `Network`."""

import torch

from app.engine.device.contract import Answers, Device, DeviceError, Network, Pixels, Rows
from app.engine.device.cpu import CpuDevice, CpuNetwork
from app.engine.device.cuda import CudaDevice
from app.engine.options import DeviceName, Precision


def open_device(name: DeviceName, precision: Precision, lanes: int | None = None, processes: int = 1) -> Device:
    """The device of that name; `auto` takes a GPU where there is one. `processes` share it. Raises `DeviceError`."""
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        return CudaDevice(precision)
    return CpuDevice(precision, lanes, processes)


__all__ = [
    "Answers",
    "CpuDevice",
    "CpuNetwork",
    "CudaDevice",
    "Device",
    "DeviceError",
    "Network",
    "Pixels",
    "Rows",
    "open_device",
]
