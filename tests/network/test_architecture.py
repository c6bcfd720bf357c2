"""The architecture against the numbers of the paper and of its Table 3."""

from __future__ import annotations

import pytest
import torch
from networks import COUNTING

from epvs_bids.errors import BadDataError
from epvs_bids.network.architecture import (
    PAPER_INPUT,
    Architecture,
    RegressionNetwork,
    build_network,
)


def on_meta(architecture: Architecture) -> RegressionNetwork:
    """Build a network without memory for its weights."""
    with torch.device("meta"):
        return build_network(architecture, PAPER_INPUT)


def parameters(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_the_papers_network_has_the_published_size() -> None:
    network = on_meta(Architecture())
    assert parameters(network) == 41_562_577
    assert parameters(network.blocks) == 692_576
    assert network.architecture.stride == 4


def test_the_papers_network_has_the_published_shapes() -> None:
    network = on_meta(Architecture())
    shapes: list[tuple[int, ...]] = []
    for block in network.blocks:
        block.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape)))
    network.head.layers[0].register_forward_hook(lambda _m, given, _o: shapes.append(tuple(given[0].shape)))
    assert network(torch.empty(1, 1, *PAPER_INPUT, device="meta")).shape == (1,)
    assert shapes == [(1, 32, 160, 120, 76), (1, 64, 72, 52, 30), (1, 128, 34, 24, 13), (1, 18_432)]


def test_the_papers_network_does_183_giga_multiplications() -> None:
    network = on_meta(Architecture())
    operations = []

    def count(layer: torch.nn.Module, given: tuple[torch.Tensor], output: torch.Tensor) -> None:
        per_output = layer.weight[0].numel()
        operations.append(per_output * output.numel())

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv3d | torch.nn.Linear):
            layer.register_forward_hook(count)
    network(torch.empty(1, 1, *PAPER_INPUT, device="meta"))
    assert sum(operations) / 1e9 == pytest.approx(183, abs=0.5)


def test_receptive_field_of_a_unit_before_the_dense_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 voxels (24 mm): the gradient of one pooled unit reaches that far and no further."""
    # Maximum pooling hands its gradient to one voxel; the mean shows all that it looked at.
    monkeypatch.setattr(torch.nn.functional, "max_pool3d", torch.nn.functional.avg_pool3d)
    architecture = Architecture(features=1, dense=())
    network = build_network(architecture, (52, 52, 52))
    for weight in network.parameters():
        torch.nn.init.constant_(weight, 0.1)
    region = torch.ones(1, 1, 52, 52, 52, requires_grad=True)
    features = network.features(region)
    # Four cells of the last feature maps make one pooled unit.
    features[0, 0, :4, :4, :4].sum().backward()
    reached = region.grad[0, 0].sum(dim=(1, 2)).nonzero().flatten()
    assert int(reached.max() - reached.min()) + 1 == 48


def test_relu_after_a_pooling_is_relu_before_it() -> None:
    torch.manual_seed(1)
    network = build_network(Architecture(features=3, blocks=2, convolutions=2, dense=()), (48, 44, 40))
    region = torch.rand(2, 1, 48, 44, 40)
    maps = region
    for level, block in enumerate(network.blocks):
        maps = torch.nn.functional.max_pool3d(maps, 2) if level else maps
        for layer in block:
            maps = torch.relu(layer.convolution(maps))
    assert (maps > 0).any()
    torch.testing.assert_close(network.features(region), maps, rtol=0, atol=0)


TABLE_3 = {
    "3 blocks, half the features": Architecture(features=16, blocks=3),
    "1 block": Architecture(blocks=1),
    "3 convolutions": Architecture(convolutions=3),
    "2 convolutions": Architecture(convolutions=2),
    "1 convolution": Architecture(convolutions=1),
    "1 convolution, 16 features": Architecture(features=16, convolutions=1),
    "1 convolution, 64 features": Architecture(features=64, convolutions=1),
    "one dense layer": Architecture(dense=(2000,)),
    "no dense layer": Architecture(dense=()),
}


@pytest.mark.parametrize("architecture", TABLE_3.values(), ids=TABLE_3.keys())
def test_every_row_of_table_3_can_be_built(architecture: Architecture) -> None:
    network = on_meta(architecture)
    assert network(torch.empty(2, 1, *PAPER_INPUT, device="meta")).shape == (2,)


def test_a_region_that_is_too_small_is_refused() -> None:
    with pytest.raises(BadDataError, match="40×128×84 voxels are too small"):
        build_network(Architecture(blocks=3), (40, 128, 84))


def test_architecture_survives_json_and_refuses_what_it_does_not_know() -> None:
    values = COUNTING.to_dict() | {"channels": [[16, 16], [32, 32, 32]]}
    assert Architecture.from_dict(values) == COUNTING
    with pytest.raises(BadDataError, match="colour"):
        Architecture.from_dict(values | {"colour": 1})
    with pytest.raises(BadDataError, match="head is 'tail'"):
        Architecture.from_dict(values | {"head": "tail"})
    with pytest.raises(BadDataError, match="dilations and channels"):
        Architecture.from_dict(values | {"dilations": [[1, 1], [1, 1]]})


@pytest.fixture
def counting() -> RegressionNetwork:
    torch.manual_seed(0)
    return build_network(COUNTING, (40, 36, 32)).eval()


def test_patches_of_44_voxels_and_whole_regions_agree(counting: RegressionNetwork) -> None:
    """A patch's cells are those of the whole region's map at the place that `logits` documents."""
    region = torch.rand(1, 1, 60, 60, 60)
    margin, stride = COUNTING.margin, COUNTING.stride
    whole = counting.detection_map(region)
    patch = counting.scale(region)[..., 8:52, 8:52, 8:52]
    cells = torch.sigmoid(counting.logits(patch))
    first = (8 + margin) // stride
    size = cells.shape[-1]
    assert whole.shape == (1, 1, 30, 30, 30)
    assert cells.shape[-3:] == ((44 - 2 * margin) // stride,) * 3
    window = slice(first, first + size)
    torch.testing.assert_close(cells, whole[..., window, window, window])


def test_the_score_is_linear_in_the_sum_of_the_map(counting: RegressionNetwork) -> None:
    region = torch.rand(2, 1, 40, 36, 32)
    with torch.no_grad():
        expected = 0.02 * counting.detection_map(region).sum(dim=(1, 2, 3, 4))
        torch.testing.assert_close(counting(region), expected)


def test_one_hot_voxel_does_not_rescale_a_scan(counting: RegressionNetwork) -> None:
    """The region is divided by its maximum before; the robust scaling undoes what a hot voxel did to it."""
    region = torch.zeros(1, 1, 40, 36, 32)
    region[..., 8:32, 8:28, 8:24] = 0.5 + 0.1 * torch.rand(24, 20, 16)
    spoilt = region / 20
    spoilt[0, 0, 2, 2, 2] = 1.0
    with torch.no_grad():
        clean, hot = counting.scale(region), counting.scale(spoilt)
    inside = (slice(None), slice(None), slice(8, 32), slice(8, 28), slice(8, 24))
    torch.testing.assert_close(clean[inside], hot[inside], rtol=1e-3, atol=1e-3)
    assert float(clean[inside].median()) == pytest.approx(1.0, abs=0.01)
    assert float(hot.max()) == 4.0


def test_pooling_sees_the_region_at_half_the_resolution() -> None:
    architecture = Architecture(channels=((4,), (8,)), head="sum", pooling=2)
    network = build_network(architecture, (40, 36, 32)).eval()
    region = torch.rand(1, 1, 40, 36, 32)
    assert network.scale(region).shape == (1, 1, 20, 18, 16)
    assert network.detection_map(region).shape == (1, 1, 10, 9, 8)
    assert architecture.stride == 4
    torch.testing.assert_close(network.scale(region).mean(), region.mean())


def test_local_contrast_forgets_the_bias_field_and_keeps_spots() -> None:
    bias = torch.linspace(0.8, 1.2, 40)[:, None, None].expand(40, 36, 32)
    tissue = bias.clone()
    tissue[20:22, 18:20, 16:18] *= 1.5
    tissue[:6] = 0
    region = torch.stack([bias, tissue])[:, None]
    network = build_network(Architecture(channels=((4,),), head="sum", scaling="local"), (40, 36, 32))
    even, spotted = network.scale(region)[:, 0]
    assert even[4:-4].abs().max() < 0.1
    assert spotted[20:22, 18:20, 16:18].min() > 2
    assert not spotted[:6].any()


def test_profile_weighs_heights_differently() -> None:
    torch.manual_seed(0)
    architecture = Architecture(channels=((2,),), head="sum", profile=3)
    network = build_network(architecture, (8, 8, 9))
    detections = torch.zeros(1, 1, 4, 4, 5)
    detections[..., 1] = 1.0
    torch.testing.assert_close(network.head.sums(detections), torch.tensor([[8.0, 8.0, 0.0]]))


def test_what_lies_below_the_floor_does_not_count() -> None:
    torch.manual_seed(0)
    plain = build_network(Architecture(channels=((2,), (2,)), head="sum"), (20, 20, 20)).eval()
    floored = build_network(Architecture(channels=((2,), (2,)), head="sum", floor=0.35), (20, 20, 20)).eval()
    for network in (plain, floored):
        torch.nn.init.constant_(network.head.bias, -0.8)
        network.head.detector.weight.data.normal_(0, 3, generator=torch.Generator().manual_seed(1))
    floored.load_state_dict(plain.state_dict())
    region = torch.rand(1, 1, 20, 20, 20, generator=torch.Generator().manual_seed(2))
    detections, kept = plain.detection_map(region), floored.detection_map(region)
    assert 0 < (detections < 0.35).float().mean() < 1
    torch.testing.assert_close(kept, detections * (detections >= 0.35))
    assert floored(region) < plain(region)


@pytest.mark.parametrize("floor", [-0.1, 1.0, "0.1", None])
def test_floor_is_a_probability(floor: object) -> None:
    with pytest.raises(BadDataError, match="floor"):
        Architecture.from_dict(Architecture().to_dict() | {"floor": floor})


def test_dense_networks_have_no_detection_map() -> None:
    network = build_network(Architecture(features=1, blocks=1, convolutions=1, dense=()), (20, 20, 20))
    with pytest.raises(BadDataError, match="no detection map"):
        network.detection_map(torch.zeros(1, 1, 20, 20, 20))


def test_activation_checkpointing_changes_memory_not_gradients() -> None:
    torch.manual_seed(0)
    network = build_network(
        Architecture(features=2, blocks=1, convolutions=2, dense=(4,)), (24, 20, 20)
    ).train()
    region = torch.rand(1, 1, 24, 20, 20)
    gradients = []
    for checkpointing in (False, True):
        network.zero_grad()
        network.checkpointing = checkpointing
        network(region).sum().backward()
        gradients.append([weight.grad.clone() for weight in network.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)
