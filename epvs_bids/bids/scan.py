"""One scan of a data set; apart from `query`, which takes a second to import."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scan:
    """One scan that is to be scored.

    Attributes
    ----------
    participant, session
        Labels without `sub-`/`ses-`; the session may be None.
    path
        The image.
    volume
        For a `PDT2`, which of its two volumes is the proton-density one; else None.
    t1w
        A T1w of the same session, else of the same participant, else None.
    """

    participant: str
    session: str | None
    path: Path
    volume: int | None = None
    t1w: Path | None = None

    @property
    def name(self) -> str:
        """The file's name without its extension, such as `sub-01_ses-1_PDw`: unique in the data set."""
        return self.path.name.partition(".")[0]

    @property
    def entities(self) -> str:
        """The name without its suffix, such as `sub-01_ses-1`: how our files begin."""
        return self.name.rpartition("_")[0]

    @property
    def suffix(self) -> str:
        """`PDw` or `T2w`; the volume taken from a `PDT2` is a `PDw`."""
        suffix = self.name.rpartition("_")[2]
        return "PDw" if suffix == "PDT2" else suffix
