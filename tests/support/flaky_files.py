"""A remote file system in memory whose operations fail when a test says so."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

Trouble = Callable[[str], Exception | None]
"""Says which error an operation of a name raises now, if any; asked before it and again after it was done."""


class FlakyFileSystem(MemoryFileSystem):
    protocol = "flaky"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    trouble: ClassVar[Trouble] = staticmethod(lambda name: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("flaky://"))

    @contextmanager
    def _around(self, name: str) -> Iterator[None]:
        self._fail_if_told(name)
        yield
        self._fail_if_told(name)

    def _fail_if_told(self, name: str) -> None:
        error = type(self).trouble(name)
        if error is not None:
            raise error

    def cat_file(self, path, *args, **options):
        with self._around("cat_file"):
            return super().cat_file(path, *args, **options)

    def pipe_file(self, path, value, mode="overwrite", **options):
        with self._around("pipe_file"):
            super().pipe_file(path, value, mode=mode, **options)

    def put_file(self, lpath, rpath, *args, **options):
        with self._around("put_file"):
            super().put_file(lpath, rpath, *args, **options)

    def get_file(self, rpath, lpath, *args, **options):
        with self._around("get_file"):
            super().get_file(rpath, lpath, *args, **options)

    def info(self, path, **options):
        with self._around("info"):
            return super().info(path, **options)

    def ls(self, path, detail=True, **options):
        with self._around("ls"):
            return super().ls(path, detail=detail, **options)

    def rm_file(self, path):
        with self._around("rm_file"):
            super().rm_file(path)

    def rm(self, path, *args, **options):
        with self._around("rm"):
            super().rm(path, *args, **options)


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


class SeededTrouble:
    """An error at a given share of all moments, by a seed; counts what it raised."""

    def __init__(self, rate: float, seed: int, make: Callable[[], Exception]) -> None:
        self._generator = random.Random(seed)
        self._rate = rate
        self._make = make
        self.raised = 0

    def __call__(self, name: str) -> Exception | None:
        if self._generator.random() >= self._rate:
            return None
        self.raised += 1
        return self._make()
