"""What the fault tests share: how a run is judged by its mark, which `docs/faults.md` is made from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from running import judge, start

from epvs_bids.cli import main
from epvs_bids.errors import EPVSError


@pytest.fixture
def mark(request: pytest.FixtureRequest) -> pytest.Mark:
    found = request.node.get_closest_marker("fault")
    assert found is not None
    return found


@pytest.fixture
def refuses(mark: pytest.Mark) -> Callable[..., None]:
    """Call a function; it has to raise the error that the mark announces, in words for a user."""

    def check(function: Callable[..., object], *arguments: object, **keywords: object) -> None:
        with pytest.raises(EPVSError) as caught:
            function(*arguments, **keywords)
        assert mark.kwargs["says"] in str(caught.value)
        assert caught.value.exit_code == mark.kwargs["code"]

    return check


@pytest.fixture
def ends(mark: pytest.Mark, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the app in this process; exit code and words have to be those of the mark."""

    def check(*words: object) -> str:
        code = main([str(word) for word in words])
        return judge(mark, code, "".join(capfd.readouterr()))

    return check


@pytest.fixture
def ends_apart(mark: pytest.Mark, tmp_path: Path) -> Callable[..., str]:
    """Run the app in a process of its own; exit code and words have to be those of the mark."""

    def check(*words: object, timeout: float = 300, home: Path = tmp_path, **options: Any) -> str:  # noqa: ANN401
        process = start(*words, home=home, **options)
        shown, _ = process.communicate(timeout=timeout)
        return judge(mark, process.returncode, shown)

    return check
