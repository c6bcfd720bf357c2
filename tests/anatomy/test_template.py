"""Templates with and without TemplateFlow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import templateflow.api
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from epvs_bids.anatomy import template as module
from epvs_bids.anatomy.template import get_template
from epvs_bids.errors import MissingInputError


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    cached = (get_template, module._ask_templateflow, module._instead_of)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def fail(*_: object, **__: object) -> None:
    raise ConnectionError("no network")


def test_off_line_the_template_of_nilearn_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templateflow.api, "get", fail)
    template = get_template("MNI152NLin2009cAsym", "PDw")
    assert template.name == "MNI152NLin2009aSym"
    assert template.source.startswith("nilearn ")
    assert template.contrast == "T1w"
    assert template.mask.shape == template.image.data.shape
    np.testing.assert_allclose(np.abs(np.diag(template.image.affine)), 1)
    assert 1.2e6 < template.mask.sum() < 2.2e6
    np.testing.assert_array_equal(template.image.data, load_mni152_template(resolution=1).get_fdata())
    np.testing.assert_array_equal(template.mask, load_mni152_brain_mask(resolution=1).get_fdata() > 0)


def test_a_failing_download_is_tried_once_for_all_contrasts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[str] = []

    def get(_: str, *, suffix: str, **__: object) -> object:
        asked.append(suffix)
        raise ConnectionError("no network")

    monkeypatch.setattr(templateflow.api, "get", get)
    first, second = (get_template("MNI152NLin2009cAsym", contrast) for contrast in ("PDw", "T2w"))
    assert asked == ["mask"]
    assert first is second
    assert [record.levelname for record in caplog.records].count("WARNING") == 1


def test_unwritable_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable(*_: object, **__: object) -> None:
        raise PermissionError("home")

    monkeypatch.setattr(templateflow.api, "get", unwritable)
    assert get_template("MNI152NLin2009cAsym", "T2w").name == "MNI152NLin2009aSym"


def test_another_template_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templateflow.api, "get", fail)
    with pytest.raises(MissingInputError, match="MNIPediatricAsym"):
        get_template("MNIPediatricAsym", "T2w")


def test_proton_density_is_asked_for_by_templateflows_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    data = np.random.default_rng(0).uniform(1, 9, (20, 20, 20)).astype(np.float32)
    for name in ("PD", "mask"):
        nib.Nifti1Image(data if name == "PD" else np.ones((20, 20, 20), np.uint8), np.eye(4)).to_filename(
            tmp_path / f"{name}.nii.gz"
        )
    asked = []

    def get(_: str, *, suffix: str, **__: object) -> object:
        asked.append(suffix)
        path = tmp_path / f"{suffix}.nii.gz"
        return path if path.is_file() else []

    monkeypatch.setattr(templateflow.api, "get", get)
    template = get_template("MNI152NLin2009cAsym", "PDw")
    assert asked == ["mask", "PD"]
    assert template.name == "MNI152NLin2009cAsym"
    assert template.contrast == "PDw"
    assert template.source.startswith("templateflow ")
    assert get_template("MNI152NLin2009cAsym", "PDw") is template


def test_empty_placeholders_are_no_template(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    monkeypatch.setattr(templateflow.api, "get", lambda *_, **__: tmp_path / "empty.nii.gz")
    assert module._ask_templateflow("MNI152NLin2009cAsym", suffix="T2w", desc=None) is None
