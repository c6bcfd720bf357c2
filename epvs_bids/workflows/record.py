"""What a run leaves of itself in `logs`: the settings that it had, the messages that it gave."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from epvs_bids.files import write_json
from epvs_bids.progress import log_file
from epvs_bids.settings import Settings


@contextmanager
def recorded(settings: Settings) -> Iterator[str]:
    """Write the messages of a run to `logs/<name>_messages.log`, and give its name.

    Parameters
    ----------
    settings
        Of the run.
    """
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    with log_file(settings.output_dir / "logs" / f"{name}_messages.log"):
        yield name


def write_settings(settings: Settings, name: str) -> None:
    """Write the settings of a run to `logs/<name>_settings.json`.

    Parameters
    ----------
    settings
        Of the run.
    name
        From `recorded`.

    Raises
    ------
    CannotCreateError
        When they can't be written.
    """
    write_json(settings.output_dir / "logs" / f"{name}_settings.json", settings.to_json())
