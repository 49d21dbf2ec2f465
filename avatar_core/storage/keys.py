"""Stage keys: names of results, derived from everything that decides a result and from nothing else."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from avatar_core.errors import ConfigError

KEY_LENGTH = 32
_FORMAT = 1
_EXACT_INTEGERS = 2**53


def stage_key(
    *,
    stage: str,
    version: int,
    config: Mapping[str, Any],
    weights: Mapping[str, str],
    seed: int,
    prompts: Mapping[str, str],
    upstream: Mapping[str, str],
) -> str:
    """Return the key of one stage's result: 32 hexadecimal characters.

    `config` is the part of the configuration that the stage reads, `weights` the digests of the weight
    files by name, `prompts` the texts as the stage uses them, `upstream` the keys of the results that it
    reads, by stage. Pass nothing that depends on a path, a host or the time. A stage that draws no random
    number passes seed 0, so that rows which differ in their seeds share its result. Equal inputs give equal
    keys on every machine: mappings are sorted, 1 and 1.0 are the same, and so are 0.0 and -0.0.

    Raises ConfigError for a value that has no canonical form (NaN, infinity, paths, tensors), naming its
    place.
    """
    return StageKeys(stage, version, config, weights).key(seed, prompts, upstream)


class StageKeys:
    """The keys of one stage's results with one configuration: `stage_key` for many rows.

    What rows share is digested once, which makes a key of a million rows ten times cheaper.
    """

    def __init__(self, stage: str, version: int, config: Mapping[str, Any], weights: Mapping[str, str]) -> None:
        """Take what rows share; see `stage_key`."""
        begun = f'{{"config":{canonical_json(config, "key.config")},"format":{_FORMAT},"prompts":'
        self._begun = hashlib.sha256(begun.encode())
        self._stage = f',"stage":{canonical_json(stage, "key.stage")},"upstream":'
        self._end = (
            f',"version":{canonical_json(version, "key.version")},"weights":{canonical_json(weights, "key.weights")}}}'
        )

    def key(self, seed: int, prompts: Mapping[str, str], upstream: Mapping[str, str]) -> str:
        """Return the key of one row's result; see `stage_key`."""
        return self.key_of_json(
            canonical_json(seed, "key.seed"),
            canonical_json(prompts, "key.prompts"),
            canonical_json(upstream, "key.upstream"),
        )

    def key_of_json(self, seed: str, prompts: str, upstream: str) -> str:
        """Return the key of one row's result, whose parts the caller has as `canonical_json` would give them."""
        digest = self._begun.copy()
        digest.update(f'{prompts},"seed":{seed}{self._stage}{upstream}{self._end}'.encode())
        return digest.hexdigest()[:KEY_LENGTH]


quoted = json.encoder.encode_basestring_ascii
"""`canonical_json` of a text, quickly."""


def canonical_json(value: Any, place: str = "key") -> str:
    """Return the one JSON text (ASCII, sorted, no spaces) that stands for `value`.

    Takes mappings with string keys, lists, tuples, strings, booleans, integers, finite floats, numpy
    scalars and None; raises ConfigError for anything else, naming it by `place`, the name of `value`.
    """
    return json.dumps(_canonical(value, place), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _canonical(value: Any, place: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _canonical_float(value, place)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ConfigError(f"{place} has the name {name!r}: names in a key are text.")
        return {str(name): _canonical(item, f"{place}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item, f"{place}[{index}]") for index, item in enumerate(value)]
    raise ConfigError(
        f"{place} is of type {type(value).__name__}, which has no canonical form: "
        "give text, numbers, booleans, None, lists or mappings of these."
    )


def _canonical_float(value: float, place: str) -> float | int:
    if not math.isfinite(value):
        raise ConfigError(f"{place} is {value}, which cannot go into a key: give a finite number.")
    if value.is_integer() and abs(value) < _EXACT_INTEGERS:
        return int(value)
    return value
