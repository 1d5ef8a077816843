"""``maps:DIR`` among the methods: maps that another tool made, one file per item, measured like ours.

A map covers the model's input (the photo as it was resized and cropped), h w of any size, and is resized bilinearly to
it. It is in ``DIR/KEY.safetensors``, as the tensor ``saliency`` or the only one, or in ``DIR/KEY.npy``; keys with
slashes are sub-folders, and the key's own suffix may be left out: ``birds/1.jpg`` is in ``birds/1.jpg.npy`` or
``birds/1.npy``. Values are not negative: a larger one says that the class is more to be seen there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.maps import resize

PREFIX = "maps:"
#: The contrast of their rows: what was asked, and how, is not known here.
GIVEN = "given"
_SUFFIXES = (".safetensors", ".npy")
_NAME = "saliency"


@dataclass(frozen=True)
class GivenMaps:
    """A folder of maps that another tool made.

    Args:
        spec: ``maps:DIR``.
    """

    spec: str

    @property
    def folder(self) -> Path:
        """Where the maps are."""
        return Path(self.spec.removeprefix(PREFIX))

    @property
    def title(self) -> str:
        """As in a table: the folder's name."""
        return self.folder.resolve().name or self.spec

    def read(self, key: str, size: tuple[int, int]) -> Float[NDArray[Any], "H W"]:
        """Return the map of an item, resized to the model's input, in float32.

        Raises:
            FinercamError: there is none, or it cannot be used.
        """
        path = self._find(key)
        found = _from_safetensors(path) if path.suffix == ".safetensors" else _from_numpy(path)
        if found.ndim != 2 or not found.numel():
            raise FinercamError(f"{path} holds a tensor of shape {tuple(found.shape)}; a map is of shape (h, w)")
        if found.is_complex():
            raise FinercamError(f"{path} holds complex numbers; a map is of real ones")
        found = found.to(torch.float64 if found.dtype == torch.float64 else torch.float32)
        if not bool(found.isfinite().all()):
            raise FinercamError(f"{path} holds values that are not finite")
        if float(found.min()) < 0:
            raise FinercamError(
                f"{path} holds negative values, down to {float(found.min()):.3g}; write what is to be measured, the "
                "positive part or the magnitude"
            )
        resized: NDArray[Any] = resize(found[None, None], size)[0, 0].numpy()
        return resized

    def fingerprint(self) -> dict[str, Any]:
        """Return how many maps there are, and the SHA-256 of their names and contents.

        Raises:
            FinercamError: there is no such folder, or no map in it.
        """
        if not self.folder.is_dir():
            raise FinercamError(f"{self.spec!r}: there is no folder {str(self.folder)!r}")
        found, count = hashlib.sha256(), 0
        for path in sorted(self.folder.rglob("*")):
            if path.suffix in _SUFFIXES and path.is_file():
                own = hashlib.sha256(path.read_bytes()).hexdigest()
                found.update(f"{path.relative_to(self.folder).as_posix()} {own}\n".encode("utf-8", "surrogateescape"))
                count += 1
        if not count:
            raise FinercamError(f"{self.spec!r}: there is no {' or '.join(_SUFFIXES)} file in the folder")
        return {"files": count, "sha256": found.hexdigest()}

    def _find(self, key: str) -> Path:
        bare = PurePosixPath(key).with_suffix("").as_posix() if PurePosixPath(key).name else key
        tried = [self.folder / f"{name}{suffix}" for name in dict.fromkeys((key, bare)) for suffix in _SUFFIXES]
        found = next((path for path in tried if path.is_file()), None)
        if found is None:
            raise FinercamError(f"{self.spec} has no map of {key!r}; expected {tried[0]} or {tried[-1]}")
        return found


def _from_safetensors(path: Path) -> Tensor:
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            name = _NAME if _NAME in names else names[0] if len(names) == 1 else None
            if name is None:
                there = ", ".join(map(repr, names)) or "nothing"
                raise FinercamError(f"{path} holds {there}; expected a tensor {_NAME!r}, or a single one")
            return file.get_tensor(name)
    except (SafetensorError, OSError) as error:
        raise FinercamError(f"{path} cannot be read as safetensors: {error}") from error


def _from_numpy(path: Path) -> Tensor:
    try:
        found = np.load(path, allow_pickle=False)
        # An archive of several arrays is opened by the same function.
        if not isinstance(found, np.ndarray):
            raise ValueError("it is not a single array")
        if found.dtype.kind not in "biufc":
            raise ValueError(f"it holds {found.dtype}, not numbers")
        # In this machine's byte order, and of a type that torch has.
        exact = np.promote_types(found.dtype, np.float32)
        kind = np.complex128 if exact.kind == "c" else np.float64 if exact.itemsize > 4 else np.float32
        return torch.from_numpy(np.ascontiguousarray(found, kind))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise FinercamError(f"{path} cannot be read as an array: {error}") from error
