from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from epvs_bids.simulation.acquisition import Protocol, Texture, add_lesions, paint, rician, sampling, scan
from epvs_bids.simulation.anatomy import Anatomy
from epvs_bids.simulation.contrast import Contrast, Sequence, draw_intensities, draw_relaxation, signal
from epvs_bids.simulation.lesions import Lesion
from epvs_bids.simulation.region import HELD_OUT, REGION, TRAINING, SimulatedRegion, simulate_region
from epvs_bids.simulation.targets import MASS, target_maps, visible_contrast
from epvs_bids.simulation.tissues import TISSUES
from epvs_bids.simulation.tubes import Tube

CLEAR = replace(TRAINING, contrasts=("T2w",), voxel_sizes=((0.5, 0.5, 0.8, -1),), noise=(0.01, 0.01))


@pytest.fixture(scope="module")
def region(anatomy: Anatomy) -> SimulatedRegion:
    return simulate_region(11, CLEAR, anatomy=anatomy, count=12)


def test_region_is_what_the_network_expects(region: SimulatedRegion) -> None:
    assert region.region.shape == (168, 128, 84)
    assert region.region.dtype == np.float32
    assert region.region.min() >= 0
    assert region.region.max() == 1
    assert region.mask.min() >= 0
    assert region.mask.max() <= 1
    assert region.total_count == 12
    assert region.slice_count == region.epvs["in_slice"].sum()


def test_same_seed_same_region(anatomy: Anatomy, region: SimulatedRegion) -> None:
    again = simulate_region(11, CLEAR, anatomy=anatomy, count=12)
    np.testing.assert_array_equal(region.image, again.image)


def test_another_scan_of_the_same_person(anatomy: Anatomy, region: SimulatedRegion) -> None:
    rescan = simulate_region(11, CLEAR, anatomy=anatomy, count=12, scan_number=1)
    assert region.epvs.equals(rescan.epvs)
    assert not np.array_equal(region.image, rescan.image)
    inside = region.mask > 0.9
    assert np.corrcoef(region.image[inside], rescan.image[inside])[0, 1] > 0.5


def test_epvs_are_bright_on_t2(region: SimulatedRegion) -> None:
    core = region.labels > 0
    putamen = region.anatomy.tissues == TISSUES.index("putamen")
    assert np.median(region.image[core]) > 1.15 * np.median(region.image[putamen & ~core])


def test_thick_slices_hide_thin_spaces(anatomy: Anatomy, region: SimulatedRegion) -> None:
    thick = replace(CLEAR, voxel_sizes=((0.6, 0.6, 4.0, 2),))
    hidden = simulate_region(11, thick, anatomy=anatomy, count=12)
    assert np.mean(visible_contrast(hidden)) < np.mean(visible_contrast(region))


def test_borders_are_as_gradual_as_asked(anatomy: Anatomy) -> None:
    def step_at_the_pallidum(transition: float) -> float:
        settings = replace(TRAINING, contrasts=("T2w",), noise=(1e-4, 1e-4), texture=(1e-3, 1e-3))
        settings = replace(settings, transition=(transition, transition), voxel_sizes=((0.5, 0.5, 0.5, -1),))
        image = simulate_region(3, settings, anatomy=anatomy, count=0).image
        pallidum = anatomy.tissues == TISSUES.index("pallidum")
        putamen = anatomy.tissues == TISSUES.index("putamen")
        border = pallidum[1:] & putamen[:-1]
        return float(np.median((image[:-1] - image[1:])[border]))

    sharp, soft = step_at_the_pallidum(0.4), step_at_the_pallidum(1.4)
    assert 0 < soft < 0.6 * sharp


@pytest.mark.parametrize(("contrast", "least", "most"), [("T2w", 0.3, 1.2), ("PDw", 0.02, 0.3)])
def test_iron_darkens_the_back_of_the_putamen(
    anatomy: Anatomy, contrast: Contrast, least: float, most: float
) -> None:
    def front_over_back(iron: float) -> float:
        settings = replace(TRAINING, contrasts=(contrast,), noise=(1e-4, 1e-4), texture=(1e-3, 1e-3))
        settings = replace(settings, iron=(iron, iron), putamen_iron=(0.8, 0.8), bias=(0.0, 0.0))
        made = simulate_region(3, settings, anatomy=anatomy, count=0)
        putamen = anatomy.tissues == TISSUES.index("putamen")
        y = np.argwhere(putamen)[:, 1]
        values = made.image[putamen]
        return float(
            np.log(np.median(values[y > np.percentile(y, 75)]) / np.median(values[y < np.percentile(y, 25)]))
        )

    assert abs(front_over_back(0.0)) < 0.1
    assert least < front_over_back(0.4) - front_over_back(0.0) < most


def test_resampled_scan_is_linear_interpolation(rng: np.random.Generator) -> None:
    protocol = Protocol(voxel_size=(1.0, 1.0, 1.0), regrid=0.8)
    acquire, restore = sampling(REGION, protocol, 0)
    values = rng.standard_normal(acquire.shape[0]).astype(np.float32)
    # The two grids and the region have the same middle.
    last = acquire.shape[0] - 1
    count = int(last / 0.8) + 1
    grid = last / 2 + 0.8 * (np.arange(count) - (count - 1) / 2)
    resampled = np.interp(grid, np.arange(last + 1), values)
    voxels = np.arange(20, 148)
    positions = (count - 1) / 2 + (voxels - (REGION.shape[0] - 1) / 2) * 0.5 / 0.8
    expected = ndimage.map_coordinates(resampled, [positions], order=3, mode="mirror")
    np.testing.assert_allclose(restore[voxels] @ values, expected, atol=1e-3)


def test_targets_add_up_to_the_count(region: SimulatedRegion) -> None:
    density, tubes, fluid = target_maps(region)
    assert density.shape == (84, 64, 42)
    assert 0.6 * 12 < density.sum() / MASS <= 12.01
    assert 0 < tubes.sum() < fluid.sum()


def test_t2_and_pd_order_tissues_as_scans_do(rng: np.random.Generator) -> None:
    relaxation = draw_relaxation(rng, variation=0.0)
    names = [TISSUES.index(name) for name in ("csf", "putamen", "white", "pallidum")]
    for _ in range(5):
        csf, putamen, white, pallidum = draw_intensities(rng, "T2w", relaxation, jitter=0.0)[0][names]
        assert csf > putamen > white > 0.9 * pallidum
        csf, putamen, white, _ = draw_intensities(rng, "T1w", relaxation, jitter=0.0)[0][names]
        assert white > putamen > csf


def test_spin_echo_signal() -> None:
    sequence = Sequence(contrast="T2w", repetition=1000.0, echo=50.0)
    expected = 0.8 * (1 - np.exp(-1)) * np.exp(-0.5)
    assert signal(sequence, np.array([[1000.0, 100.0, 0.8]]))[0] == pytest.approx(expected)


def test_rician_noise_has_its_bias(rng: np.random.Generator) -> None:
    # The mean of a Rayleigh distribution.
    dark = rician(rng, np.zeros((50, 50, 50), np.float32), 0.1)
    assert dark.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.01)


def test_scan_without_noise_keeps_a_constant(rng: np.random.Generator) -> None:
    protocol = Protocol(voxel_size=(0.7, 0.7, 3.0), thick_axis=2, noise=0.0, bias=0.0)
    seen = scan(rng, np.ones(REGION.shape, np.float32), REGION, protocol)
    np.testing.assert_allclose(seen, 1, atol=0.01)


def test_a_lesion_changes_only_its_place() -> None:
    image = np.ones(REGION.shape, np.float32)
    tube = Tube(points=np.array([[20.0, 3, 0], [20.0, 3, 4]]), radii=np.array([1.0, 1.0]))
    labels = add_lesions(image, [Lesion(kind="epvs", tube=tube, level=0.5)], REGION, fluid=3.0)
    assert image.max() == pytest.approx(2.0)
    assert set(np.unique(labels)) == {0, 1}
    assert (image != 1).sum() < 400


def test_laminae_divide_the_dark_pallidum(anatomy: Anatomy, rng: np.random.Generator) -> None:
    intensities = np.ones(len(TISSUES), np.float32)
    intensities[TISSUES.index("pallidum")] = 0.5
    flat = Texture(fine=0, coarse=0, fluid=0, patchy=0, transition=0)
    plain, divided = (paint(rng, anatomy, intensities, replace(flat, lamina=lamina)) for lamina in (0.0, 0.8))
    pallidum = anatomy.tissues == TISSUES.index("pallidum")
    brighter = divided - plain > 0.15
    np.testing.assert_array_equal(brighter & ~pallidum, False)
    assert 0.1 < brighter[pallidum].mean() < 0.5
    # Two sheets: from the putamen inwards bright, dark, bright, dark.
    putamen = anatomy.tissues == TISSUES.index("putamen")
    outwards = ndimage.distance_transform_edt(~putamen)
    inwards = ndimage.distance_transform_edt(pallidum | putamen)
    depth = np.where(pallidum, outwards / (outwards + inwards), np.nan)
    steps = [(0.0, 0.1), (0.35, 0.5), (0.62, 0.72), (0.85, 1.0)]
    lateral, outer, medial, inner = (brighter[(depth > low) & (depth < high)].mean() for low, high in steps)
    assert min(lateral, medial) > 2 * max(outer, inner)


def test_zero_filling_leaves_noise_correlated(rng: np.random.Generator) -> None:
    def correlation(filling: float) -> float:
        protocol = Protocol(
            voxel_size=(0.5, 0.5, 0.5), zero_filling=(filling, 1.0, 1.0), noise=0.05, bias=0.0
        )
        seen = scan(rng, np.ones(REGION.shape, np.float32), REGION, protocol)[20:-20, 20:-20, 20:-20] - 1
        return float(np.corrcoef(seen[1:].ravel(), seen[:-1].ravel())[0, 1])

    assert correlation(1.0) < 0.35
    assert correlation(1.6) > 0.5


def test_borders_are_crisper_away_from_the_pallidum(anatomy: Anatomy, rng: np.random.Generator) -> None:
    def width(name: str) -> float:
        """Share of a nucleus' border voxels that lie between its own intensity and its surroundings'."""
        intensities = np.where(np.arange(len(TISSUES)) == TISSUES.index(name), 2, 1).astype(np.float32)
        texture = Texture(fine=0, coarse=0, fluid=0, patchy=0, lamina=0, transition=1.2)
        image = paint(rng, anatomy, intensities, texture)
        return float(((image > 1.1) & (image < 1.9)).sum() / (anatomy.tissues == TISSUES.index(name)).sum())

    assert width("putamen") < 0.6 * width("pallidum")


def test_few_threads_would_pass_for_visible_epvs(anatomy: Anatomy) -> None:
    regions = [simulate_region(seed, HELD_OUT, anatomy=anatomy, count=0) for seed in (9001, 9003)]
    threads = [[lesion for lesion in region.lesions if lesion.kind == "thread"] for region in regions]
    as_epvs = [tuple(replace(lesion, kind="epvs") for lesion in some) for some in threads]
    visible = [
        target_maps(replace(region, lesions=lesions))[0].sum() / MASS
        for region, lesions in zip(regions, as_epvs, strict=True)
    ]
    # 65 of 83 when they were 0.15 to 0.4 mm wide and half to full of fluid.
    assert sum(visible) < sum(map(len, threads)) / 3


def test_grain_is_stronger_in_some_places_than_in_others(anatomy: Anatomy) -> None:
    def strengths(uneven: float) -> np.ndarray:
        """Standard deviation of white matter in blocks of 4 mm."""
        texture = Texture(fine=0.02, coarse=0, fluid=0, patchy=0, lamina=0, transition=0, uneven=uneven)
        image = paint(np.random.default_rng(5), anatomy, np.ones(len(TISSUES), np.float32), texture)
        image[anatomy.tissues != TISSUES.index("white")] = np.nan
        blocks = image[:, :, :80].reshape(21, 8, 16, 8, 10, 8).transpose(0, 2, 4, 1, 3, 5).reshape(-1, 512)
        return blocks[np.isfinite(blocks).mean(axis=1) == 1].std(axis=1)

    even, uneven = strengths(0.0), strengths(0.4)
    assert np.log(uneven).std() > 1.6 * np.log(even).std()
    np.testing.assert_allclose((uneven**2).mean(), (even**2).mean(), rtol=0.15)
