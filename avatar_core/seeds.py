"""Explicit random generators, derived from a row's seed and a name, so that no draw depends on another."""

import hashlib

import numpy as np
import torch


def derive_seed(seed: int, *names: str) -> int:
    """Return a 63-bit seed that depends on `seed` and every name, in order."""
    text = "\x1f".join([str(int(seed)), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator seeded by `derive_seed(seed, *names)` on `device`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))


def numpy_generator(seed: int, *names: str) -> np.random.Generator:
    """Return a numpy generator seeded by `derive_seed(seed, *names)`."""
    return np.random.default_rng(derive_seed(seed, *names))
