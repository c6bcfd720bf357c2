"""The template beside a scan comes from the outputs once it was needed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from epvs_bids.anatomy import template as anatomy
from epvs_bids.errors import MissingInputError
from epvs_bids.reports.template import template_image

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Calls for the template; only `MNI-here` can be had."""
    calls: list[tuple[str, str]] = []

    def get(name: str, contrast: str) -> SimpleNamespace:
        calls.append((name, contrast))
        if name != "MNI-here":
            raise MissingInputError(f"{name} can't be had")
        data = np.linspace(0, 1000, 1000, dtype=np.float32).reshape(10, 10, 10)
        return SimpleNamespace(
            image=SimpleNamespace(data=data, affine=AFFINE), contrast="T1w", source="nilearn 0.14"
        )

    monkeypatch.setattr(anatomy, "get_template", get)
    return calls


def test_template_is_kept_and_says_what_it_is(tmp_path: Path, asked: list[tuple[str, str]]) -> None:
    first = template_image(tmp_path, "MNI-here", "T2w")
    again = template_image(tmp_path, "MNI-here", "T2w")
    assert asked == [("MNI-here", "T2w")]
    assert first is not None
    assert again is not None
    assert first.name == again.name == "MNI-here, T1w, nilearn 0.14"
    np.testing.assert_array_equal(first.image.affine, AFFINE)
    np.testing.assert_allclose(first.image.data.ravel()[[0, 500]], [0, 128], atol=1.5)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["tpl-MNI-here_desc-report_T2w.nii.gz"]


@pytest.mark.usefixtures("asked")
def test_no_template_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert template_image(tmp_path, "MNI-gone", "T2w") is None
    assert "MNI-gone can't be had" in caplog.text


@pytest.mark.usefixtures("asked")
def test_a_broken_copy_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "tpl-MNI-here_desc-report_T2w.nii.gz").write_bytes(b"nothing")
    assert template_image(tmp_path, "MNI-here", "T2w") is None
