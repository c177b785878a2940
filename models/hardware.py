"""What arithmetic a device has: asked alike by training and by serving."""

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 itself.

    Where it doesn't, bfloat16 is emulated and many times slower than float32, and convolutions on the CPU fail outright.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported())
