"""The discriminator's network on all kinds of observations."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from sb3_gail import Demonstrations
from sb3_gail.adversaries.networks import LogitNetwork
from sb3_gail.encoder import TransitionEncoder
from sb3_gail.losses import gradient_penalty

RNG = np.random.default_rng(0)
SPACES: dict[str, spaces.Space[Any]] = {
    "vector": spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "image": spaces.Box(0, 255, (36, 36, 3), np.uint8),
    "dict": spaces.Dict(
        {"place": spaces.Box(-np.inf, np.inf, (2,), np.float32), "view": spaces.Box(0, 255, (3, 36, 36), np.uint8)}
    ),
}
EXTRACTORS = {"vector": FlattenExtractor, "image": NatureCNN, "dict": CombinedExtractor}


def rows_of(space: spaces.Space[Any], n: int) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: rows_of(part, n) for key, part in space.spaces.items()}
    if space.dtype == np.uint8:
        return RNG.integers(0, 256, size=(n, *(space.shape or ())), dtype=np.uint8)
    return RNG.normal(size=(n, *(space.shape or ()))).astype(np.float32)


def encoder_of(kind: str, inputs: str, n: int = 8) -> tuple[TransitionEncoder, Tensor]:
    """An encoder and the encoded demonstrations that it is fitted on."""
    demonstrations = Demonstrations.from_arrays(
        rows_of(SPACES[kind], n + 1),
        RNG.integers(0, 3, size=n),
        lengths=[n],
        observation_space=SPACES[kind],
        action_space=spaces.Discrete(3),
    )
    encoder = TransitionEncoder(demonstrations, inputs=inputs)
    return encoder, encoder(demonstrations.transitions())


def network_of(encoder: TransitionEncoder, **settings: Any) -> LogitNetwork:
    return LogitNetwork(
        encoder, **{"hidden_sizes": (16, 8), "activation": "tanh", "use_spectral_norm": False, **settings}
    )


@pytest.mark.parametrize("inputs", ["s", "sa", "ss'", "sas'"])
@pytest.mark.parametrize("kind", SPACES)
def test_each_row_has_a_logit_of_its_own(kind: str, inputs: str) -> None:
    encoder, columns = encoder_of(kind, inputs)
    network = network_of(encoder)
    assert isinstance(network.extractor, EXTRACTORS[kind])
    logits = network(columns)
    assert logits.shape == (8,)
    torch.testing.assert_close(logits[3:4], network(columns[3:4]))


@pytest.mark.parametrize("kind", SPACES)
def test_gradients_reach_the_input_and_all_parameters(kind: str) -> None:
    encoder, columns = encoder_of(kind, "sas'")
    network = network_of(encoder)
    points = columns.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(points).sum(), points)
    for columns_of_part in encoder.parts.values():
        assert gradient[:, columns_of_part].abs().sum() > 0
    gradient_penalty(network, columns, target=1.0).backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_a_vector_network_is_an_mlp_of_the_given_widths() -> None:
    encoder, columns = encoder_of("vector", "sa")
    network = network_of(encoder, activation="relu")
    layers = [layer for layer in network.mlp if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(6, 16), (16, 8), (8, 1)]
    hidden = columns
    for layer in layers[:-1]:
        hidden = torch.relu(hidden @ layer.weight.T + layer.bias)
    torch.testing.assert_close(network(columns), (hidden @ layers[-1].weight.T + layers[-1].bias).ravel())


def test_observation_and_next_observation_share_the_extractor() -> None:
    encoder, columns = encoder_of("image", "ss'")
    network = network_of(encoder)
    assert isinstance(network.extractor, NatureCNN)
    pictures = columns[:, encoder.parts["observations"]].view(-1, 3, 36, 36)
    after = columns[:, encoder.parts["next_observations"]].view(-1, 3, 36, 36)
    features = torch.cat([network.extractor(pictures), network.extractor(after)], dim=1)
    torch.testing.assert_close(network(columns), network.mlp(features).squeeze(1))


@pytest.mark.parametrize("kind", SPACES)
def test_spectral_normalisation_bounds_every_layer(kind: str) -> None:
    encoder, columns = encoder_of(kind, "sa")
    network = network_of(encoder, use_spectral_norm=True)
    layers = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    assert len(layers) == {"vector": 3, "image": 3 + 4, "dict": 3 + 4}[kind]
    for layer in layers:
        with torch.no_grad():
            layer.weight.mul_(10.0)
    for _ in range(50):
        network(columns)  # in training mode, each pass improves the estimate
    if kind == "vector":  # three layers and tanh, none of which stretches
        points = columns.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(network(points).sum(), points)
        assert gradient.norm(dim=1).max() <= 1 + 1e-3


@pytest.mark.parametrize("use_spectral_norm", [False, True])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_it_can_be_copied_and_pickled(duplicate: Any, use_spectral_norm: bool) -> None:
    encoder, columns = encoder_of("dict", "sas'")
    network = network_of(encoder, use_spectral_norm=use_spectral_norm).eval()
    network(columns).sum().backward()  # also after training
    torch.testing.assert_close(duplicate(network)(columns), network(columns), rtol=0, atol=0)


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 255, (35, 64, 3), np.uint8), spaces.Box(0, 255, (1, 64, 20), np.uint8)]
)
def test_images_that_are_too_small_are_refused(space: spaces.Space[Any]) -> None:
    demonstrations = Demonstrations.from_arrays(
        rows_of(space, 5),
        RNG.integers(0, 3, size=4),
        lengths=[4],
        observation_space=space,
        action_space=spaces.Discrete(3),
    )
    with pytest.raises(ValueError, match=r"expected images of at least 36 x 36 pixels .*; give network="):
        network_of(TransitionEncoder(demonstrations, inputs="s"))
