"""Wrappers that put an adversary's reward in place of the environment's."""

from sb3_gail.wrappers.reward import GAILRewardWrapper
from sb3_gail.wrappers.vec_reward import GAILRewardVecWrapper

__all__ = ["GAILRewardVecWrapper", "GAILRewardWrapper"]
