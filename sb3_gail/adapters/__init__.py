"""Adapters for what stands around GAIL: behavioural cloning and other libraries, which are imported only where used."""

from sb3_gail.adapters.bc import BCResult, pretrain_bc
from sb3_gail.adapters.envpool import EnvPoolVecEnv
from sb3_gail.adapters.imitation import (
    RewardNetNetwork,
    from_imitation_trajectories,
    from_imitation_transitions,
    to_imitation_trajectories,
    to_imitation_transitions,
)

__all__ = [
    "BCResult",
    "EnvPoolVecEnv",
    "RewardNetNetwork",
    "from_imitation_trajectories",
    "from_imitation_transitions",
    "pretrain_bc",
    "to_imitation_trajectories",
    "to_imitation_transitions",
]
