"""Steps from a region to its score and to what the score rests on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, traits

from epvs_bids.anatomy.images import save_volume
from epvs_bids.anatomy.registration import load_itk
from epvs_bids.files import write_json
from epvs_bids.interfaces.base import Stage, read_checked


class _ScoreInputs(BaseInterfaceInputSpec):
    roi = File(exists=True, mandatory=True)
    model = traits.Str(mandatory=True, desc="folder of the model")
    key = traits.Str(mandatory=True, desc="checksum of the model: another one scores again")
    device = traits.Str("auto", usedefault=True)
    threads = traits.Int(1, usedefault=True, nohash=True)


class _ScoreOutputs(TraitedSpec):
    score = File(exists=True, desc="JSON: score, score_sd, per_model")


class ScoreRegion(Stage):
    """Score a region with each network of a model."""

    input_spec, output_spec = _ScoreInputs, _ScoreOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Load the model and score."""
        from epvs_bids.network.checkpoint import load_models  # torch takes a second to import
        from epvs_bids.network.inference import score

        models = load_models(Path(self.inputs.model))
        roi = read_checked(self.inputs.roi).data
        result = score(roi, models, device=self.inputs.device, threads=self.inputs.threads)
        spread = result.score_sd if len(models) > 1 else None
        out = folder / "score.json"
        write_json(out, {"score": result.score, "score_sd": spread, "per_model": result.per_model})
        return {"score": str(out)}


class _SaliencyInputs(BaseInterfaceInputSpec):
    roi = File(exists=True, mandatory=True)
    mask = traits.Either(None, File(exists=True), usedefault=True)
    scan = File(exists=True, mandatory=True)
    transform = traits.Either(None, File(exists=True), usedefault=True)
    model = traits.Str(mandatory=True)
    key = traits.Str(mandatory=True)
    method = traits.Str("gradient", usedefault=True)
    device = traits.Str("auto", usedefault=True)
    seed = traits.Int(1, usedefault=True)
    threads = traits.Int(1, usedefault=True, nohash=True)


class _SaliencyOutputs(TraitedSpec):
    saliency = File(exists=True, desc="map on the grid of the region")
    native = File(exists=True, desc="the same on the grid of the scan")


class MapSaliency(Stage):
    """Map where in the region the score comes from, in template and scan space."""

    input_spec, output_spec = _SaliencyInputs, _SaliencyOutputs

    def work(self, folder: Path) -> dict[str, Any]:
        """Load the model, map, and bring the map back to the scan."""
        import numpy as np
        import torch

        from epvs_bids.network.checkpoint import load_models
        from epvs_bids.network.device import choose_device
        from epvs_bids.network.inference import prepare
        from epvs_bids.network.memory import reuse_large_blocks
        from epvs_bids.network.saliency import saliency, to_native

        given = self.inputs
        torch.set_num_threads(given.threads)
        reuse_large_blocks()
        networks = [prepare(model.network) for model in load_models(Path(given.model))]
        roi, scan = read_checked(given.roi), read_checked(given.scan)
        mask = read_checked(given.mask).data if given.mask else None
        device = choose_device(given.device).type
        values = saliency(networks, roi.data, given.method, mask=mask, device=device, seed=given.seed)
        matrix = load_itk(Path(given.transform)) if given.transform else np.eye(4)
        x, y, z = scan.data.shape
        native = to_native(values, roi.affine, matrix, shape=(x, y, z), native_affine=scan.affine)
        save_volume(folder / "saliency.nii.gz", values, roi.affine)
        save_volume(folder / "native.nii.gz", native, scan.affine)
        return {name: str(folder / f"{name}.nii.gz") for name in ("saliency", "native")}
