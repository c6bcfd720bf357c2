"""Starting from another model: what fits is read, what does not is said."""

from __future__ import annotations

import torch
from networks import COUNTING

from epvs_bids.network.architecture import Architecture, RegressionNetwork, build_network
from epvs_bids.network.initialisation import initialise
from epvs_bids.network.warm_start import warm_start

SHAPE = (44, 40, 40)


def trained(architecture: Architecture, seed: int) -> RegressionNetwork:
    network = build_network(architecture, SHAPE)
    initialise(network, "spots", seed=seed)
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm3d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return network.eval()


def test_the_same_architecture_is_read_whole() -> None:
    source, network = trained(COUNTING, 1), trained(COUNTING, 2)
    report = warm_start(network, source)
    assert not report.partial
    assert not report.left
    region = torch.rand(1, 1, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(network(region), source(region))


def test_another_readout_is_named() -> None:
    network = build_network(Architecture(**{**COUNTING.to_dict(), "profile": 4}), SHAPE)
    report = warm_start(network, trained(COUNTING, 1))
    assert report.left == ("head.readout.weight",)
    assert "left as initialised: head.readout.weight" in str(report)


def test_the_papers_network_takes_features_with_the_normalisation_folded() -> None:
    source = trained(Architecture(**{**COUNTING.to_dict(), "dilations": None}), 1)
    network = trained(Architecture(features=16, convolutions=2, dense=(8,)), 2)
    report = warm_start(network, source)
    assert "blocks.0.1.convolution.weight" in report.read
    assert "head.layers.0.weight" in report.left
    patch = torch.rand(1, 1, 20, 20, 20)
    with torch.no_grad():
        torch.testing.assert_close(network.blocks[0](patch), source.blocks[0](patch), rtol=1e-4, atol=1e-5)


def test_wider_layers_keep_the_old_features_in_their_first_channels() -> None:
    source = trained(Architecture(features=4, blocks=1, convolutions=2, dense=()), 1)
    network = trained(Architecture(features=6, blocks=1, convolutions=2, dense=()), 2)
    report = warm_start(network, source)
    assert "blocks.0.0.convolution.weight" in report.partial
    patch = torch.rand(1, 1, 12, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(network.blocks[0](patch)[:, :4], source.blocks[0](patch))
