"""Adversaries: what tells policy from expert and rewards the policy for the difference."""

from sb3_gail.adversaries.airl import AIRL, AIRLConfig
from sb3_gail.adversaries.base import Adversary
from sb3_gail.adversaries.discriminator import Discriminator
from sb3_gail.adversaries.discriminator_config import DiscriminatorConfig
from sb3_gail.adversaries.feature_matching import FeatureMatching
from sb3_gail.adversaries.frozen import FrozenReward
from sb3_gail.adversaries.game_theoretic import GameTheoreticApprenticeship
from sb3_gail.adversaries.linear import LinearAdversary

__all__ = [
    "AIRL",
    "AIRLConfig",
    "Adversary",
    "Discriminator",
    "DiscriminatorConfig",
    "FeatureMatching",
    "FrozenReward",
    "GameTheoreticApprenticeship",
    "LinearAdversary",
]
