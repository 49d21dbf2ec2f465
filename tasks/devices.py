"""Which device a stage is computed on."""

from avatar_core.errors import ConfigError


def resolve_device(device: str) -> str:
    """Return `cpu` or a CUDA device; `auto` takes CUDA where there is one. Raises ConfigError."""
    import torch

    if device == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        return device
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index.isdecimal() or index == ""):
        raise ConfigError(f"--device {device!r} is none of auto, cpu, cuda and cuda:N.")
    count = torch.cuda.device_count()
    if int(index or 0) >= count:
        raise ConfigError(f"--device {device}: this machine has {count} usable CUDA devices. Use --device cpu.")
    return f"cuda:{int(index or 0)}"


def device_name(device: str) -> str:
    """Return what the costs of a device are told apart by: `cpu`, or the name of the GPU."""
    if device == "cpu":
        return device
    import torch

    return torch.cuda.get_device_name(device)
