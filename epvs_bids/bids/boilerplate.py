"""The methods paragraph that a paper can use, with its citations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from epvs_bids import __version__
from epvs_bids.files import write_text

REFERENCES = {
    "dubost": "Dubost F, Yilmaz P, Adams H, et al. Enlarged perivascular spaces in brain MRI: "
    "automated quantification in four regions. NeuroImage 2019;185:534-544. "
    "doi:10.1016/j.neuroimage.2018.10.026",
    "regression": "Dubost F, Adams H, Bortsova G, et al. 3D regression neural network for the "
    "quantification of enlarged perivascular spaces in brain MRI. Medical Image Analysis "
    "2019;51:89-100. doi:10.1016/j.media.2018.10.008",
    "elastix": "Klein S, Staring M, Murphy K, Viergever MA, Pluim JPW. elastix: a toolbox for "
    "intensity-based medical image registration. IEEE Trans Med Imaging 2010;29:196-205. "
    "doi:10.1109/TMI.2009.2035616",
    "template": "Fonov V, Evans AC, Botteron K, et al. Unbiased average age-appropriate atlases for "
    "pediatric studies. NeuroImage 2011;54:313-327. doi:10.1016/j.neuroimage.2010.07.033",
    "templateflow": "Ciric R, Thompson WH, Lorenz R, et al. TemplateFlow: FAIR-sharing of multi-scale, "
    "multi-species brain models. Nature Methods 2022;19:1568-1571. "
    "doi:10.1038/s41592-022-01681-2",
    "nipype": "Gorgolewski K, Burns CD, Madison C, et al. Nipype: a flexible, lightweight and "
    "extensible neuroimaging data processing framework in Python. Front Neuroinform "
    "2011;5:13. doi:10.3389/fninf.2011.00013",
    "bids": "Gorgolewski KJ, Auer T, Calhoun VD, et al. The brain imaging data structure. "
    "Scientific Data 2016;3:160044. doi:10.1038/sdata.2016.44",
    "pybids": "Yarkoni T, Markiewicz CJ, de la Vega A, et al. PyBIDS: Python tools for BIDS datasets."
    " Journal of Open Source Software 2019;4:1294. doi:10.21105/joss.01294",
    "samseg": "Puonti O, Iglesias JE, Van Leemput K. Fast and sequence-adaptive whole-brain "
    "segmentation using parametric Bayesian modeling. NeuroImage 2016;143:235-249. "
    "doi:10.1016/j.neuroimage.2016.09.011",
    "freesurfer": "Fischl B. FreeSurfer. NeuroImage 2012;62:774-781. doi:10.1016/j.neuroimage.2012.01.021",
    "fastsurfer": "Henschel L, Conjeti S, Estrada S, et al. FastSurfer: a fast and accurate deep learning"
    " based neuroimaging pipeline. NeuroImage 2020;219:117012. "
    "doi:10.1016/j.neuroimage.2020.117012",
    "synthseg": "Billot B, Greve DN, Puonti O, et al. SynthSeg: segmentation of brain MRI scans of any "
    "contrast and resolution without retraining. Medical Image Analysis 2023;86:102789. "
    "doi:10.1016/j.media.2023.102789",
    "saliency": "Simonyan K, Vedaldi A, Zisserman A. Deep inside convolutional networks: visualising "
    "image classification models and saliency maps. arXiv:1312.6034, 2013",
    "potter": "Potter GM, Chappell FM, Morris Z, Wardlaw JM. Cerebral perivascular spaces visible on "
    "magnetic resonance imaging. Cerebrovascular Diseases 2015;39:224-231. "
    "doi:10.1159/000375153",
}
"""References by key, in the form of a reference list."""

_SEGMENTERS = {
    "samseg": "SAMSEG",
    "freesurfer": "FreeSurfer",
    "fastsurfer": "FastSurfer",
    "synthseg": "SynthSeg",
}


def methods_text(
    *,
    segmentations: Sequence[str] = (),
    template: str | None = "MNI152NLin2009cAsym",
    model: str = "default",
    n_models: int = 1,
    intensity: str = "maximum",
    saliency: str = "none",
) -> str:
    """Write the methods paragraph and its references, in Markdown.

    Parameters
    ----------
    segmentations
        What the segmentations were made with, as scans' results say (`samseg`, `freesurfer` …), or, before
        there are any, the choice of `--segmentation`; `existing` names no program.
    template
        The template's name; None where scans were not registered.
    model
        Name of the model, or `none`.
    n_models
        Number of its networks.
    intensity
        What region intensities were divided by: `maximum` or `percentile`.
    saliency
        Method of the saliency maps, or `none`.
    """
    used: list[str] = []

    def cite(*keys: str) -> str:
        used.extend(key for key in keys if key not in used)
        return ", ".join(f"[{used.index(key) + 1}]" for key in keys)

    sentences = [
        f"Enlarged perivascular spaces (EPVS) were quantified with EPVS BIDS App {__version__}, which "
        f"implements the regression network of Dubost et al. {cite('regression', 'dubost')} as a Nipype "
        f"{cite('nipype')} workflow on data organised as BIDS {cite('bids', 'pybids')}.",
        _segmentation_sentence(segmentations, cite),
        _registration_sentence(template, cite),
        "The mask of the basal ganglia (caudate, putamen, pallidum and accumbens) was dilated four times, "
        "smoothed with a Gaussian of 2 voxels (1 mm) and multiplied with the scan; the product was cropped "
        "to 168 × 128 × 84 voxels about the mask's centre of mass and divided by "
        + ("its maximum." if intensity == "maximum" else "the 99.5th percentile of the scan in the mask."),
    ]
    if model != "none":
        networks = f"the mean of {n_models} networks of" if n_models > 1 else "the output of"
        sentences.append(
            f"The score is {networks} the model `{model}`; categories follow Potter et al. {cite('potter')}."
        )
        if saliency != "none":
            sentences.append(f"Saliency maps were computed by the method `{saliency}` {cite('saliency')}.")
    references = "\n".join(f"{number}. {REFERENCES[key]}" for number, key in enumerate(used, start=1))
    return f"# Methods\n\n{' '.join(sentences)}\n\n# References\n\n{references}\n"


def _segmentation_sentence(segmentations: Sequence[str], cite: Callable[..., str]) -> str:
    if list(segmentations) == ["existing"]:
        return "Existing segmentations of brain structures were used."
    keys = [key for key in _SEGMENTERS if any(key in one.lower() for one in segmentations)] or ["samseg"]
    names = " or ".join(f"{_SEGMENTERS[key]} {cite(key)}" for key in keys)
    return f"Brain structures were segmented with {names}."


def _registration_sentence(template: str | None, cite: Callable[..., str]) -> str:
    if template is None:
        return "Scans were resampled to 0.5 mm isotropic voxels in their own space by cubic B-splines."
    keys = ("template", "templateflow")
    return (
        f"Scans were registered rigidly to the template {template} {cite(*keys)} by maximising mutual "
        f"information with elastix {cite('elastix')} and resampled once, to 0.5 mm isotropic voxels, by "
        "cubic B-splines."
    )


def write_boilerplate(output_dir: Path, text: str) -> Path:
    """Write `logs/CITATION.md` and return its path."""
    path = output_dir / "logs" / "CITATION.md"
    write_text(path, text)
    return path
