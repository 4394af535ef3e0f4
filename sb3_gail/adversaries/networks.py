"""Networks that map encoded transitions to logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from sb3_gail.adversaries.spectral_norm import normalise_layers
from sb3_gail.encoder import Leaf, TransitionEncoder

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU}

SMALLEST_IMAGE = 36
"""Pixels in height and width that `NatureCNN`'s three convolutions leave something of."""


class LogitNetwork(nn.Module):
    """An MLP over the features of observation, action and next observation, `[B, D] -> [B]`.

    The features of an observation are SB3's own: as they are for vectors, `NatureCNN`'s for images,
    `CombinedExtractor`'s for dicts; observation and next observation share the extractor.

    Args:
        encoder: What encodes the input.
        hidden_sizes: Width of each hidden layer.
        activation: `"tanh"`, `"relu"` or `"leaky_relu"`, after each hidden layer.
        use_spectral_norm: Whether each layer's largest singular value is held at 1 (Miyato et al. 2018).
    """

    def __init__(
        self, encoder: TransitionEncoder, *, hidden_sizes: Sequence[int], activation: str, use_spectral_norm: bool
    ) -> None:
        super().__init__()
        self.leaves = encoder.observation_leaves
        self.parts = encoder.parts
        self.extractor = _extractor(self.leaves)
        widths = [
            columns.stop - columns.start if part == "actions" else self.extractor.features_dim
            for part, columns in self.parts.items()
        ]
        sizes = [sum(widths), *hidden_sizes]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
        self.mlp = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        if use_spectral_norm:
            normalise_layers(self)

    def forward(self, encoded: Tensor) -> Tensor:
        """Logits `[B]` of encoded transitions `[B, D]`."""
        if isinstance(self.extractor, FlattenExtractor):
            logits: Tensor = self.mlp(encoded)
            return logits.squeeze(1)
        features = [
            encoded[:, columns] if part == "actions" else self._features(encoded[:, columns])
            for part, columns in self.parts.items()
        ]
        logits = self.mlp(torch.cat(features, dim=1))
        return logits.squeeze(1)

    def _features(self, columns: Tensor) -> Tensor:
        pieces = torch.split(columns, [leaf.size for leaf in self.leaves], dim=1)
        shaped = {
            leaf.key: piece.view(-1, *(leaf.space.shape or ())) if leaf.is_image else piece
            for leaf, piece in zip(self.leaves, pieces, strict=True)
        }
        features: Tensor = self.extractor(shaped.get(None, shaped))
        return features


def check_rows_in_and_out(network: nn.Module, encoder: TransitionEncoder) -> None:
    """Tries a network of the caller's own on two encoded transitions.

    Raises:
        ValueError: If it cannot take them, or makes something else than one number of each.
    """
    was_training = network.training
    try:
        with torch.no_grad():
            made = network.eval()(encoder.mean.new_zeros(2, encoder.size))
    except RuntimeError as error:  # torch's, of shapes
        raise ValueError(
            f"expected a network that takes encoded transitions of shape (2, {encoder.size}), such as one with "
            f"nn.Linear(encoder.size, 64) first: {error}"
        ) from error
    finally:
        network.train(was_training)
    if made.shape != (2,):
        raise ValueError(
            f"expected a network that maps encoded transitions of shape (2, {encoder.size}) to numbers of shape (2,), "
            f"got {tuple(made.shape)}; end it with squeeze(-1), such as nn.Flatten(0) after a last layer of width 1"
        )


def check_shapes(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raises a `ValueError` unless a state's tensors have the names and shapes of a module's own."""
    ours = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if ours != theirs:
        raise ValueError(f"expected a state with tensors of the shapes {ours}, got {theirs}")


def _extractor(leaves: Sequence[Leaf]) -> BaseFeaturesExtractor:
    for leaf in leaves:
        if leaf.is_image and min((leaf.space.shape or ())[-2:]) < SMALLEST_IMAGE:
            raise ValueError(
                f"expected images of at least {SMALLEST_IMAGE} x {SMALLEST_IMAGE} pixels for SB3's NatureCNN, got "
                f"{leaf.space.shape}; give network=, a function that makes another network of the encoder"
            )
    first = leaves[0]
    if first.key is not None:
        return CombinedExtractor(spaces.Dict({str(leaf.key): leaf.space for leaf in leaves}))
    if first.is_image:
        return NatureCNN(first.space)
    return FlattenExtractor(first.space)
