"""Derive the simulator's label atlas from samseg's probabilistic atlas (MIT) and nilearn's MNI152 maps.

Run once, in two steps, because samseg lives in an environment of its own (numpy 1)::

    .venv-samseg/bin/python tools/make_anatomy_atlas.py rasterise probabilities.npz
    .venv/bin/python tools/make_anatomy_atlas.py fuse probabilities.npz epvs_bids/data/anatomy/labels.nii.gz

*rasterise* turns samseg's tetrahedral mesh into label probabilities at 1 mm. *fuse* takes the most
probable label, brings it to the MNI152 2009a space of nilearn by an affine and a B-spline registration
of a pseudo T1w, takes cortex, white matter and CSF from nilearn's sharper grey and white matter maps,
and draws the claustrum (a sheet halfway between putamen and insula, which no atlas here has).
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import itk

SKULL, SOFT, EYES = 165, 258, 259
CLAUSTRUM_LEFT, CLAUSTRUM_RIGHT = 138, 139  # FreeSurfer's colour table
PSEUDO_T1 = {
    0: 0.0,
    SKULL: 10,
    SOFT: 60,
    EYES: 25,
    24: 25,
    4: 20,
    43: 20,
    5: 30,
    44: 30,
    14: 25,
    15: 25,
    72: 25,
}
WHITE = {
    2: 110,
    41: 110,
    7: 110,
    46: 110,
    16: 105,
    28: 105,
    60: 105,
    13: 100,
    52: 100,
    10: 95,
    49: 95,
    85: 100,
}


def rasterise(destination: Path) -> None:
    """Write the label probabilities of samseg's mesh on its template's 1 mm grid."""
    import nibabel as nib
    import samseg

    folder = Path(samseg.__file__).parent / "atlas" / "20Subjects_smoothing2_down2_smoothingForAffine2"
    template = nib.load(folder / "template.nii.gz")
    meshes = samseg.gems.KvlMeshCollection()
    meshes.read(str(folder / "atlas_level2.txt.gz"))
    probabilities = meshes.reference_mesh.rasterize(template.shape, -1)
    rows = [line.split() for line in (folder / "compressionLookupTable.txt").read_text().splitlines() if line]
    freesurfer = {int(row[1]): int(row[0]) for row in rows}
    labels = np.array([freesurfer[index] for index in range(probabilities.shape[-1])])
    quantised = (probabilities >> 8).astype(np.uint8)
    np.savez_compressed(destination, probabilities=quantised, affine=template.affine, labels=labels)


def pseudo_t1(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean T1w-like intensity (0 to 110) of each voxel under the label probabilities."""
    table = {**{int(label): 80.0 for label in labels}, **PSEUDO_T1, **WHITE}
    weights = np.array([table[int(label)] for label in labels], dtype=np.float32)
    total = np.maximum(probabilities.sum(-1, dtype=np.float32), 1)
    return (probabilities.astype(np.float32) @ weights) / total


def register(
    fixed: np.ndarray, fixed_affine: np.ndarray, moving: np.ndarray, moving_affine: np.ndarray
) -> "itk.Image":
    """Affine, then B-spline transform (elastix, mutual information) from *moving* to *fixed*."""
    import itk

    parameters = itk.ParameterObject.New()
    for name in ("affine", "bspline"):
        parameter_map = parameters.GetDefaultParameterMap(name, 3, 16.0)
        parameter_map["WriteResultImage"] = ["false"]
        parameter_map["FixedImagePyramid"] = ["FixedRecursiveImagePyramid"]
        parameter_map["MovingImagePyramid"] = ["MovingRecursiveImagePyramid"]
        parameters.AddParameterMap(parameter_map)
    _, transform = itk.elastix_registration_method(
        as_itk(fixed, fixed_affine), as_itk(moving, moving_affine), parameter_object=parameters
    )
    return transform


def as_itk(data: np.ndarray, affine: np.ndarray) -> "itk.Image":
    """Make an ITK image (LPS) of a RAS array whose affine is diagonal."""
    import itk

    flips = np.sign(np.diag(affine)[:3])
    image = itk.image_from_array(np.ascontiguousarray(data.T.astype(np.float32)))
    image.SetSpacing([float(v) for v in np.abs(np.diag(affine)[:3])])
    image.SetOrigin([float(v) for v in affine[:3, 3] * [-1, -1, 1]])
    image.SetDirection(np.diag(flips * [-1, -1, 1]).astype(float))
    return image


def warp(names: np.ndarray, affine: np.ndarray, transform: "itk.ParameterObject") -> np.ndarray:
    """Labels, carried to the fixed grid by the nearest voxel."""
    import itk

    for index in range(transform.GetNumberOfParameterMaps()):
        transform.SetParameter(index, "FinalBSplineInterpolationOrder", "0")
    moved = itk.transformix_filter(as_itk(names, affine), transform)
    return np.rint(np.asarray(itk.array_from_image(moved))).T.astype(np.int16)


def claustrum(labels: np.ndarray, grey: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Voxels of the sheet halfway between putamen and insula, in the white matter."""
    from scipy.ndimage import distance_transform_edt

    putamen = np.isin(labels, (12, 51))
    to_putamen = distance_transform_edt(~putamen)
    lateral = np.isin(labels, (3, 42)) & (np.abs(x) > 30)
    to_cortex = distance_transform_edt(~lateral)
    between = np.isin(labels, (2, 41)) & (np.abs(x) > 26) & (to_putamen < 5) & (to_cortex < 5)
    return between & (np.abs(to_putamen - to_cortex - 0.3) < 0.75)


def fuse(source: Path, destination: Path) -> None:
    """Write the label atlas in MNI152 2009a space."""
    import nibabel as nib
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    stored = np.load(source)
    probabilities, affine, labels = stored["probabilities"], stored["affine"], stored["labels"]
    template = load_mni152_template(resolution=1)
    head = np.asarray(template.dataobj, dtype=np.float32)
    transform = register(head * (110 / head.max()), template.affine, pseudo_t1(probabilities, labels), affine)
    names = warp(labels[probabilities.argmax(-1)], affine, transform)
    grey = np.asarray(load_mni152_gm_template(resolution=1).dataobj)
    white = np.asarray(load_mni152_wm_template(resolution=1).dataobj)
    names = sharpen(names, grey, white, head, template.affine)
    coded = np.select([names == SOFT, names == EYES], [240, 241], names).astype(np.uint8)
    nib.save(nib.Nifti1Image(coded, template.affine), destination)


def sharpen(
    names: np.ndarray, grey: np.ndarray, white: np.ndarray, head: np.ndarray, affine: np.ndarray
) -> np.ndarray:
    """Cortex, white matter and CSF outside the deep structures from the tissue maps, and the claustrum.

    Sulci that the average blurs are where the T1w template is darker than 0.68 of its white matter.
    """
    x = (np.arange(names.shape[0]) * affine[0, 0] + affine[0, 3])[:, None, None]
    x = np.broadcast_to(x, names.shape)
    left = x < 0
    cerebrum = np.isin(names, (2, 3, 41, 42, 24, 30, 62))
    fluid = 1 - grey - white
    stack = np.stack([white * 1.0, grey * 1.0, fluid * 1.15])
    winner = stack.argmax(0)
    out = names.copy()
    out[cerebrum & (winner == 0)] = np.where(left, 2, 41)[cerebrum & (winner == 0)]
    out[cerebrum & (winner == 1)] = np.where(left, 3, 42)[cerebrum & (winner == 1)]
    sulcus = (winner == 1) & (head < 0.68 * np.median(head[np.isin(names, (2, 41))]))
    out[cerebrum & ((winner == 2) | sulcus)] = 24
    sheet = claustrum(out, grey, x)
    out[sheet] = np.where(left, CLAUSTRUM_LEFT, CLAUSTRUM_RIGHT)[sheet]
    return out


def main() -> None:
    """Run one of the two steps."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("rasterise").add_argument("destination", type=Path)
    fusing = steps.add_parser("fuse")
    fusing.add_argument("source", type=Path)
    fusing.add_argument("destination", type=Path)
    options = parser.parse_args()
    if options.step == "rasterise":
        rasterise(options.destination)
    else:
        fuse(options.source, options.destination)


if __name__ == "__main__":
    main()
