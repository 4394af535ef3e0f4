"""Generative adversarial imitation learning as a composable addition to Stable-Baselines3."""

from sb3_gail.adversaries import Adversary, Discriminator, DiscriminatorConfig
from sb3_gail.checkpoint import load_checkpoint, save_checkpoint
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.transitions import Transitions

__all__ = [
    "Adversary",
    "Demonstrations",
    "Discriminator",
    "DiscriminatorConfig",
    "Transitions",
    "load_checkpoint",
    "save_checkpoint",
]
