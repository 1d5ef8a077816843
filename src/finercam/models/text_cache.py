"""Text embeddings kept on disk: a thousand prompts need not go through the text tower at each start."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from finercam.files import NotWritten, whole


def cache_folder() -> Path | None:
    """Return where finercam keeps what it can make again.

    ``FINERCAM_CACHE``, or else ``finercam`` in ``XDG_CACHE_HOME`` or in ``~/.cache``. An empty ``FINERCAM_CACHE``
    means nowhere: ``None``.
    """
    given = os.environ.get("FINERCAM_CACHE")
    if given is not None:
        return Path(given).expanduser() if given else None
    # The specification has relative paths ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "finercam"


def entry(folder: Path, fingerprint: str, inputs: Mapping[str, Int[Tensor, "n _L"]], templates: int) -> Path:
    """Return the file for these prompts' rows.

    Args:
        folder: what ``cache_folder`` returns.
        fingerprint: of the text tower.
        inputs: the prompts' tokens, so that the tokenizer counts too.
        templates: how many prompts in a row make one class.
    """
    digest = hashlib.blake2b(f"{fingerprint} {templates}".encode(), digest_size=20)
    for name, ids in sorted(inputs.items()):
        digest.update(f"{name} {tuple(ids.shape)}".encode())
        digest.update(ids.cpu().long().contiguous().numpy().data)
    return folder / "text" / f"{digest.hexdigest()}.safetensors"


def read(file: Path, classes: int) -> Float[Tensor, "C D"] | None:
    """Return the unit rows kept in the file; ``None`` if it is missing or does not hold them."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        rows = load_file(file).get("rows")
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError):
        # Damaged: it is made again and written over.
        return None
    usable = rows is not None and rows.ndim == 2 and len(rows) == classes and bool(rows.isfinite().all())
    return rows if usable else None


def write(file: Path, rows: Float[Tensor, "C D"]) -> None:
    """Keep the rows; where that cannot be, warn and go on."""
    from safetensors.torch import save

    try:
        with whole(file) as aside:
            # Not save_file, which writes to a file of its own that a killed process leaves behind.
            aside.write_bytes(save({"rows": rows.detach().float().cpu().contiguous()}))
    except NotWritten as error:
        warnings.warn(
            f"text embeddings could not be kept in {str(file.parent)!r} ({error}); set FINERCAM_CACHE to a folder "
            "that can be written to, or to nothing to keep none",
            stacklevel=2,
        )
