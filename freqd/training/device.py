"""Which device a setting means."""

from __future__ import annotations

import torch

from freqd.errors import InputError


def resolve(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that is there; ``auto`` is CUDA if there is any.

    Raises:
        InputError: the name is unknown, or torch sees no such device.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"unknown device '{device}'", "use auto, cpu, cuda or cuda:N") from error
    if resolved.type not in ("cpu", "cuda"):
        raise InputError(f"device '{device}' is not supported", "use auto, cpu, cuda or cuda:N")
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{device}' is asked for, but torch sees {torch.cuda.device_count()} CUDA devices",
            "use auto or cpu, or install a CUDA build of torch",
        )
    return resolved
