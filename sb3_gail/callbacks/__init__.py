"""Callbacks for SB3's `learn()`."""

from sb3_gail.callbacks.bc_annealing import BCAnnealingCallback
from sb3_gail.callbacks.checkpoint import ImitationCheckpointCallback
from sb3_gail.callbacks.critic_warmup import CriticWarmupCallback
from sb3_gail.callbacks.evaluation import ImitationEvalCallback
from sb3_gail.callbacks.gail import GAILCallback
from sb3_gail.callbacks.minimum_std import MinimumStdCallback
from sb3_gail.callbacks.target_kl import TargetKLCallback
from sb3_gail.callbacks.wandb import WandbCallback

__all__ = [
    "BCAnnealingCallback",
    "CriticWarmupCallback",
    "GAILCallback",
    "ImitationCheckpointCallback",
    "ImitationEvalCallback",
    "MinimumStdCallback",
    "TargetKLCallback",
    "WandbCallback",
]
