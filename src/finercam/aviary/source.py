"""The aviary's two small trained models as sources: ``finercam.load("aviary")``, ``finercam.load("aviary-clip")``."""

from __future__ import annotations

from finercam.aviary import MODEL
from finercam.aviary.clip import folder
from finercam.models.source import alias
from finercam.models.sources.open_clip import OPEN_CLIP, TOWERS
from finercam.models.sources.timm import TIMM

alias("aviary", TIMM, f"local-dir:{MODEL}")
alias("aviary-clip", OPEN_CLIP, f"local-dir:{folder()}")
# A folder that was trained with ``finercam aviary train-clip`` has this tower too.
TOWERS.append("finercam.aviary.clip.tower")
