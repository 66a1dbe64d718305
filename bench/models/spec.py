"""What names one network: its family and options. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelSpec:
    """A resolved model preset: the family's factory and its options."""

    name: str
    family: str
    options: dict[str, Any]
    file: str | None = None  # a user's own file that holds the factory
