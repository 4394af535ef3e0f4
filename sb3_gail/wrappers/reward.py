"""The reward wrapper for a single Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.monitor import Monitor

from sb3_gail.adversaries.base import Adversary
from sb3_gail.transitions import Transitions, map_observations, single_precision

NO_RELABELLING = (
    "expected no HerReplayBuffer around a learned reward: the transitions that it relabels would be paid the "
    "environment's own; take SB3's DictReplayBuffer"
)


class GAILRewardWrapper(Monitor[Any, Any], RecordConstructorArgs):
    """Pays an adversary's reward instead of the environment's.

    ```python
    env = GAILRewardWrapper(gym.make("Hopper-v5"), discriminator)
    ```

    The environment's own reward never reaches the learner: it is in `info["env_reward"]`, and the wrapper is a
    `Monitor` of it, so that `info["episode"]`, `rollout/ep_rew_mean` and SB3's `EvalCallback` show true returns.

    While a `GAILCallback` trains the adversary, it asks for unscored steps (`skip_scoring`): these pay 0 and put the
    transition into `info["transition"]`, and the callback rewards the whole rollout at once. Otherwise every step is
    scored, with an adversary that no longer changes: a learned reward to train a fresh agent on.

    Args:
        env: The environment; action and observation wrappers belong inside.
        adversary: What rewards.

    Raises:
        TypeError: If `adversary` is not an `Adversary`.
        ValueError: If `env` pays an adversary's reward already, or normalises observations inside.
    """

    def __init__(self, env: gym.Env[Any, Any], adversary: Adversary) -> None:
        if not isinstance(env, gym.Env):
            raise TypeError(
                f"env must be a Gymnasium environment, got {type(env).__name__}; around SB3's vectorised ones belongs "
                f"GAILRewardVecWrapper"
            )
        check_adversary(adversary)
        # Without a copy: it would double the adversary, and some cannot be copied.
        RecordConstructorArgs.__init__(self, adversary=adversary, _disable_deepcopy=True)
        Monitor.__init__(self, env)
        adversary.check_spaces(env.observation_space, env.action_space)
        if is_wrapped(env, GAILRewardWrapper):
            raise ValueError("expected an environment without GAILRewardWrapper, got one that has it; wrap it once")
        if is_wrapped(env, gym.wrappers.NormalizeObservation):
            raise ValueError(
                "expected raw observations, got an environment with NormalizeObservation inside, whose statistics move "
                "away from the demonstrations'; use SB3's VecNormalize outside the reward wrapper"
            )
        self.adversary = adversary
        self._unscored_steps = 0
        self._observation: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:  # type: ignore[override]
        """Resets the environment; cut short by hand, an episode also ends the unscored steps."""
        if not self.needs_reset:
            self._unscored_steps = 0
        observation, info = super().reset(seed=seed, options=options)
        self._observation = map_observations(np.array, observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps the environment and pays the learned reward, or 0 while a callback collects."""
        observation, env_reward, terminated, truncated, info = super().step(action)
        next_observation = map_observations(np.array, observation)
        transition = (self._observation, np.array(action), next_observation, bool(terminated))
        self._observation = next_observation
        info["env_reward"] = float(env_reward)
        if "episode" in info:
            info["env_episode"] = info["episode"]  # which a Monitor outside does not overwrite
        if self._unscored_steps > 0:
            self._unscored_steps -= 1
            info["transition"] = transition
            return observation, 0.0, terminated, truncated, info
        reward = float(self.adversary.reward(stack_transitions([transition]))[0])
        return observation, reward, terminated, truncated, info

    def compute_reward(self, *goals_and_infos: Any) -> NoReturn:
        """Refuses: SB3's `HerReplayBuffer` would mix the environment's own reward with the learned one."""
        raise NotImplementedError(NO_RELABELLING)

    def skip_scoring(self, n_steps: int) -> None:
        """The next `n_steps` steps pay 0 and carry their transition in `info["transition"]`."""
        self._unscored_steps = n_steps

    def adversary_identity(self) -> str:
        """Which adversary this wrapper, perhaps in another process, rewards with."""
        return self.adversary.identity

    def transition_spaces(self) -> tuple[gym.Space[Any], gym.Space[Any]]:
        """Observation and action space of what crosses this wrapper."""
        return self.observation_space, self.action_space

    def load_adversary_state(self, state: Mapping[str, Any]) -> None:
        """Gives this wrapper's copy of the adversary its trained state."""
        self.adversary.load_state_dict(state)


def check_adversary(adversary: object) -> None:
    """Raises a `TypeError` unless it is an `Adversary`."""
    if not isinstance(adversary, Adversary):
        raise TypeError(
            f"adversary must be an Adversary such as Discriminator.from_demonstrations(...), got "
            f"{type(adversary).__name__}"
        )


def stack_transitions(rows: list[tuple[Any, Any, Any, bool]]) -> Transitions:
    """A batch of single `(observation, action, next observation, terminated)`."""
    observations, actions, next_observations, terminated = zip(*rows, strict=True)

    def stack(*parts: Any) -> Any:
        return single_precision(np.stack(parts))

    return Transitions(
        observations=map_observations(stack, *observations),
        actions=np.stack(actions),
        next_observations=map_observations(stack, *next_observations),
        terminated=np.array(terminated),
    )
