"""The `imitation` library's data, reward networks and behavioural cloning, from and to ours."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import Space, spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from sb3_gail.demonstrations import Demonstrations
from sb3_gail.encoder import INPUTS, Leaf, TransitionEncoder
from sb3_gail.likelihood import training_mode
from sb3_gail.transitions import Array, Observations, map_observations

_TIME_LIMIT = "TimeLimit.truncated"
"""SB3's key in the info of an episode's last step."""

_PARTS = {"state": "observations", "action": "actions", "next_state": "next_observations"}
"""What a `RewardNet` takes, and what transitions call it."""


class RewardNetNetwork(nn.Module):
    """One of `imitation`'s `RewardNet`s as a discriminator's network: its reward is the logit.

    ```python
    reward_net = BasicRewardNet(demonstrations.observation_space, demonstrations.action_space)
    discriminator = Discriminator.from_demonstrations(
        demonstrations, network=lambda encoder: RewardNetNetwork(encoder, reward_net)
    )
    ```

    The reward net gets what the discriminator's encoder makes of transitions, in the shapes that its own `preprocess`
    would give it: numbers are standardised by the demonstrations, so it needs no normalising input layer; images are
    scaled to `[0, 1]`, categories are one-hot. What its wrappers do in `predict_processed` is not used.

    Args:
        encoder: The discriminator's.
        reward_net: An `imitation.rewards.reward_nets.RewardNet`.

    Raises:
        ValueError: If the net reads the `done` flag, or a part of transitions that the encoder's `inputs` leave out, or
            if the observations are dicts, which `RewardNet`s do not take.
    """

    def __init__(self, encoder: TransitionEncoder, reward_net: nn.Module) -> None:
        super().__init__()
        for name, leaves in (("observations", encoder.observation_leaves), ("actions", encoder.action_leaves)):
            if leaves[0].key is not None:
                raise ValueError(f"a RewardNet takes arrays, got dict {name} with keys {[leaf.key for leaf in leaves]}")
        self.reward_net = reward_net
        self._columns = encoder.parts
        self._leaves = {"state": encoder.observation_leaves[0], "action": encoder.action_leaves[0]}
        self._leaves["next_state"] = self._leaves["state"]
        _check_reads(reward_net, self._arguments(torch.zeros(2, encoder.size)), encoder.inputs)

    def forward(self, encoded: Tensor) -> Tensor:
        """Logits `[B]` of encoded transitions `[B, D]`."""
        logits: Tensor = self.reward_net(**self._arguments(encoded))
        return logits

    def _arguments(self, encoded: Tensor) -> dict[str, Tensor]:
        """The reward net's arguments; those that it must not read are 0."""
        arguments = {"done": encoded.new_zeros(len(encoded))}
        for name, leaf in self._leaves.items():
            columns = self._columns.get(_PARTS[name])
            rows = encoded.new_zeros(len(encoded), leaf.size) if columns is None else encoded[:, columns]
            arguments[name] = _as_preprocessed(rows, leaf)
        return arguments


def _as_preprocessed(columns: Tensor, leaf: Leaf) -> Tensor:
    """Columns `[B, size]` in the shape in which SB3's `preprocess_obs` leaves the raw values."""
    if isinstance(leaf.space, spaces.Box):
        rows = columns.reshape(len(columns), *leaf.space.shape)
        return rows if leaf.space is leaf.raw_space else rows.movedim(1, -1)
    return columns


def _check_reads(reward_net: nn.Module, arguments: dict[str, Tensor], inputs: str) -> None:
    """Refuses a net whose output depends on what its input does not hold."""
    device = next((parameter.device for parameter in reward_net.parameters()), torch.device("cpu"))
    arguments = {name: rows.to(device) for name, rows in arguments.items()}
    unknown = {name: rows for name, rows in arguments.items() if _PARTS.get(name) not in INPUTS[inputs]}
    was_training = reward_net.training
    with torch.enable_grad():
        for rows in unknown.values():
            rows.requires_grad_()
        rewards = reward_net.eval()(**arguments)
    reward_net.train(was_training)
    if rewards.shape != (len(arguments["done"]),):
        raise ValueError(f"expected a reward net that maps 2 transitions to rewards of shape (2,), got {rewards.shape}")
    gradients: Sequence[Tensor | None] = [None] * len(unknown)
    if rewards.requires_grad:
        gradients = torch.autograd.grad(rewards.sum(), list(unknown.values()), allow_unused=True)
    read = {name for name, gradient in zip(unknown, gradients, strict=True) if gradient is not None}
    if "done" in read or any(getattr(module, "use_done", False) for module in reward_net.modules()):
        raise ValueError(
            "expected a reward net that does not read `done`, got one that does: an episode's end would tell expert "
            "from policy whatever they do, and time limits would pass for it; use use_done=False and no shaping"
        )
    if read:
        wanted = {*INPUTS[inputs], *(_PARTS[name] for name in read)}
        choices = [name for name, parts in INPUTS.items() if wanted <= set(parts)]
        raise ValueError(
            f"expected a reward net that reads what inputs={inputs!r} hold, got one that also reads "
            f"{' and '.join(sorted(read))}; make the discriminator with inputs={' or '.join(map(repr, choices))}"
        )


def to_imitation_trajectories(demonstrations: Demonstrations) -> list[Any]:
    """The episodes as `imitation`'s `Trajectory`s, or `TrajectoryWithRew`s if there are rewards.

    All are `terminal`, as those of `imitation`'s own rollouts; of an episode that a time limit ended the last info says
    so, with SB3's key `TimeLimit.truncated`.

    Raises:
        ValueError: If the demonstrations are subsampled: a trajectory has all of its steps.
        ImportError: If `imitation` is not installed.
    """
    if len(demonstrations) != demonstrations.whole.n_steps:
        raise ValueError(
            f"a trajectory has all of its steps, got {demonstrations!r}; use to_imitation_transitions, or convert them "
            "before they are subsampled"
        )
    types = _imported("imitation.data.types")
    trajectories = []
    for episode in demonstrations.episodes():
        fields: dict[str, Any] = {"obs": _wrapped(episode.observations), "acts": np.array(episode.actions)}
        fields |= {"infos": _infos(len(episode.actions), [-1] if not episode.terminated else []), "terminal": True}
        if episode.rewards is None:
            trajectories.append(types.Trajectory(**fields))
        else:
            trajectories.append(types.TrajectoryWithRew(**fields, rews=np.array(episode.rewards, dtype=np.float64)))
    return trajectories


def from_imitation_trajectories(
    trajectories: Iterable[Any],
    *,
    env_id: str | None = None,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
) -> Demonstrations:
    """Demonstrations of `imitation`'s `Trajectory`s; with returns, if all of them are `TrajectoryWithRew`s.

    An episode terminated if it is `terminal` and its last info does not say `TimeLimit.truncated`. Without infos, which
    `imitation`'s `rollout` leaves out unless it is told `exclude_infos=False`, an episode that is as long as the time
    limit of `env_id` counts as truncated, and a warning says so if no limit is known.

    Args:
        trajectories: Those.
        env_id: The Gymnasium id of the environment.
        observation_space: As `Demonstrations.from_arrays` takes it.
        action_space: Alike; needed for integer actions if `env_id` is not given.

    Raises:
        ValueError: As `Demonstrations.from_episodes`.
    """
    trajectories = list(trajectories)
    limit = _time_limit(env_id)
    n_unknown = sum(bool(trajectory.terminal) for trajectory in trajectories if trajectory.infos is None)
    if n_unknown and limit is None:
        warnings.warn(
            f"{n_unknown} of {len(trajectories)} trajectories are terminal and have no infos, so that each counts as "
            f"terminated, even if a time limit ended it: give the env_id of an environment with that limit, or record "
            f"them with exclude_infos=False",
            stacklevel=2,
        )
    with_rewards = all(hasattr(trajectory, "rews") for trajectory in trajectories)
    episodes = []
    for trajectory in trajectories:
        infos, n_steps = trajectory.infos, len(trajectory.acts)
        cut = n_steps == limit if infos is None else infos[-1].get(_TIME_LIMIT, False)
        terminated = bool(trajectory.terminal and not cut)
        episode = {"observations": _unwrapped(trajectory.obs), "actions": np.array(trajectory.acts)}
        episode |= {"rewards": trajectory.rews if with_rewards else None}
        episodes.append({**episode, "terminated": terminated, "truncated": not terminated})
    return Demonstrations.from_episodes(
        episodes, env_id=env_id, observation_space=observation_space, action_space=action_space
    )


def _time_limit(env_id: str | None) -> int | None:
    try:
        return None if env_id is None else gym.spec(env_id).max_episode_steps
    except (gym.error.Error, ImportError):  # not installed here
        return None


def to_imitation_transitions(demonstrations: Demonstrations) -> Any:
    """The kept transitions as `imitation`'s `Transitions`.

    `dones` marks every episode's last step, as in `imitation`; where a time limit ended it, the info says so, with
    SB3's key `TimeLimit.truncated`.

    Raises:
        ImportError: If `imitation` is not installed.
    """
    transitions = demonstrations.transitions()
    dones = np.isin(demonstrations.kept, np.cumsum(demonstrations.lengths) - 1)
    return _imported("imitation.data.types").Transitions(
        obs=_wrapped(transitions.observations),
        acts=np.array(transitions.actions),
        infos=_infos(len(dones), np.flatnonzero(dones & ~np.asarray(transitions.terminated))),
        next_obs=_wrapped(transitions.next_observations),
        dones=dones,
    )


def from_imitation_transitions(
    transitions: Any,
    *,
    env_id: str | None = None,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
) -> Demonstrations:
    """Demonstrations of `imitation`'s `Transitions`, in their order.

    Neighbours that follow from each other become one episode; any other ends where it is. Rewards are left out, since
    such pieces of episodes have no returns.

    Args:
        transitions: Those, as many as there are.
        env_id: The Gymnasium id of the environment.
        observation_space: As `Demonstrations.from_arrays` takes it.
        action_space: Alike; needed for integer actions if `env_id` is not given.

    Raises:
        ValueError: As `Demonstrations.from_arrays`.
    """
    observations, next_observations = _unwrapped(transitions.obs), _unwrapped(transitions.next_obs)
    n = len(transitions.acts)
    follows = np.ones(max(n - 1, 0), dtype=bool)
    pairs = zip(_leaves(observations), _leaves(next_observations), strict=True)
    for rows, next_rows in pairs:
        same = next_rows[:-1] == rows[1:]
        follows &= same.all(axis=tuple(range(1, same.ndim)))
    ends = np.flatnonzero(np.append(~follows, True) | transitions.dones)
    cut = np.array([info.get(_TIME_LIMIT, False) for info in transitions.infos[ends]], dtype=bool)

    def with_last(rows: Array, next_rows: Array) -> Array:
        return np.insert(rows, ends + 1, next_rows[ends], axis=0)

    return Demonstrations.from_arrays(
        map_observations(with_last, observations, next_observations),
        np.array(transitions.acts),
        lengths=np.diff(ends, prepend=-1),
        terminated=transitions.dones[ends] & ~cut,
        env_id=env_id,
        observation_space=observation_space,
        action_space=action_space,
    )


def _infos(n: int, cut: Any) -> Array:
    infos = np.array([{} for _ in range(n)], dtype=object)
    for row in cut:
        infos[row] = {_TIME_LIMIT: True}
    return infos


def _wrapped(observations: Observations) -> Any:
    """A copy as `imitation` takes it, which makes its arrays read-only."""
    rows = map_observations(np.array, observations)
    return _imported("imitation.data.types").DictObs(rows) if isinstance(rows, Mapping) else rows


def _unwrapped(observations: Any) -> Any:
    return observations.unwrap() if hasattr(observations, "unwrap") else observations


def _leaves(observations: Any) -> list[Array]:
    return list(observations.values()) if isinstance(observations, Mapping) else [observations]


def imitation_bc_epoch(
    policy: BasePolicy,
    batches: Iterable[tuple[Any, Tensor]],
    *,
    batch_size: int,
    learning_rate: float,
    l2: float,
) -> Callable[[], None]:
    """Makes a function that takes one epoch of `imitation`'s own `bc.BC` on a policy.

    Args:
        policy: An on-policy learner's, trained in place.
        batches: The policy's observations and actions, each time anew, in batches of exactly `batch_size`.
        batch_size: Transitions of one Adam step.
        learning_rate: Adam's.
        l2: Weight of half the squared parameters, all of them.

    Raises:
        TypeError: If the policy is not an on-policy learner's.
        ImportError: If `imitation` is not installed.
    """
    if not hasattr(policy, "evaluate_actions"):
        raise TypeError(
            f"imitation's BC trains policies of on-policy learners, got {type(policy).__name__}; use backend='torch'"
        )
    trainer = _imported("imitation.algorithms.bc").BC(
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        rng=np.random.default_rng(0),  # evaluation's alone
        policy=policy,
        demonstrations=_Mappings(batches),
        batch_size=batch_size,
        l2_weight=l2,
        optimizer_kwargs={"lr": learning_rate},
        device=policy.device,
        custom_logger=_imported("imitation.util.logger").HierarchicalLogger(Logger(None, []), []),
    )

    def epoch() -> None:
        with training_mode(policy, True), warnings.catch_warnings():
            # What it warns of lies in itself: it logs tensors with gradients, and unwraps dicts twice.
            warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True", UserWarning)
            warnings.filterwarnings("ignore", "trying to unwrap object of type", UserWarning)
            trainer.train(n_epochs=1, progress_bar=False)

    return epoch


class _Mappings:
    """Batches as `imitation` takes them, as often as it asks."""

    def __init__(self, batches: Iterable[tuple[Any, Tensor]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for observations, actions in self._batches:
            rows = map_observations(lambda tensor: tensor.cpu().numpy(), observations)
            yield {"obs": _wrapped(rows), "acts": actions}


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"the imitation library is needed for this and cannot be imported ({error}); pip install "
            "'sb3-gail[imitation]' or, beside a current stable-baselines3, pip install --no-deps imitation==1.0.1"
        ) from error
