"""The adversaries that have a name on the command line, with the settings we give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, Literal

import torch
from gymnasium import spaces

from sb3_gail.adversaries import (
    AIRL,
    Adversary,
    AIRLConfig,
    Discriminator,
    DiscriminatorConfig,
    FeatureMatching,
    GameTheoreticApprenticeship,
    LinearAdversary,
)
from sb3_gail.demonstrations import Demonstrations
from sb3_gail.encoder import TransitionEncoder, has_images

AdversaryName = Literal["gail", "airl", "fem", "gtal"]

_NETWORKS: dict[str, tuple[type[Discriminator], type[DiscriminatorConfig]]] = {
    "gail": (Discriminator, DiscriminatorConfig),
    "airl": (AIRL, AIRLConfig),
}
_LINEAR: dict[str, type[LinearAdversary]] = {"fem": FeatureMatching, "gtal": GameTheoreticApprenticeship}
_LINEAR_SETTINGS: dict[str, dict[str, Any]] = {
    "fem": {},
    "gtal": {"multiplicative_iterations": None},
}
"""Their defaults but for the sign, which depends on the demonstrations."""

FEW = 5
"""Fewer demonstrated transitions than this for each number that a discriminator sees of one are few: it soon knows each
of them by heart."""

PENALTY_OF_FEW = 0.3
"""The weight of its gradient penalty then: three times as much, so that it has to be smoother."""

ALERT_LEARNING_RATE = 1e-3
"""Of a discriminator where discrete actions are paid by `gail`, to the end.

Where staying alive is nearly all there is, little but the discriminator holds the policy at the expert. One that is
late pays for what it has not yet learned to tell from the expert, and the policy leaves.
"""

SETTINGS_OF_IMAGES: dict[str, Any] = {"learning_rate": ALERT_LEARNING_RATE, "transitions_per_step": 32}
"""A convolutional discriminator's, four times as many steps: what an action has to do with a picture it learns late."""

AVOIDED = 10
"""An expert avoids an end that random actions meet this many times as often."""

CAUSAL_ENTROPY = {"discrete": 0.03, "continuous": 0.01}
"""The weight of the policy's entropy, where a `gail` that cannot tell it from the expert pays each step about 0.7.

That of continuous actions is a sum over their numbers, and has a smaller one."""


def spelt_out(name: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a named adversary, its own defaults where nothing else is said.

    Raises:
        ValueError: If there is no adversary of that name, it has no such setting, or the setting is out of range.
    """
    if name not in (*_NETWORKS, *_LINEAR):
        raise ValueError(f"adversary must be one of {', '.join((*_NETWORKS, *_LINEAR))}, got {name!r}")
    linear = name in _LINEAR
    known = ["sign", *_LINEAR_SETTINGS[name]] if linear else [each.name for each in fields(_NETWORKS[name][1])]
    unknown = [setting for setting in overrides if setting not in known]
    if unknown:
        raise ValueError(f"{name} has no setting {unknown[0]!r}; expected some of {', '.join(known)}")
    if not linear:
        return asdict(_NETWORKS[name][1](**overrides))
    settings = {**_LINEAR_SETTINGS[name], **overrides}
    _LINEAR[name](lambda transitions: torch.zeros(len(transitions), 0), 0, **settings)  # checks them
    return settings


def adversary_settings(
    name: str,
    demonstrations: Demonstrations,
    overrides: Mapping[str, Any],
    *,
    random_termination_rate: Callable[[], float],
) -> dict[str, Any]:
    """Our settings of a named adversary with some of them replaced.

    Where the expert reaches a goal that ends its episodes, each step costs: GAIL's reward is `log_d` without absorbing
    states, and a linear reward is negative. What few demonstrations leave open, such as the first move from another
    start, is then settled by what takes least time; matching the expert's rate of termination is too weak for that.

    Elsewhere a linear reward is positive, since an end is a failure, and GAIL's is `gail`. Where the expert avoids
    ends, its own few are accidents: to end as often as it does would be paid as soon as the policy does so more rarely.
    The gradient penalty is larger where actions are continuous and demonstrations few for what it sees of each. Where
    they are discrete, and paid by `gail`, the learning rate is larger and stays so. On images GAIL's learning rate is
    that one whatever the actions, and its steps are more.

    Args:
        name: The adversary's.
        demonstrations: The expert's.
        overrides: The settings that differ from ours.
        random_termination_rate: Terminations per step of random actions; asked only if it matters, since that takes
            episodes to find out.
    """
    if name in _LINEAR and "sign" not in overrides:
        goal = _reaches_goal(demonstrations, random_termination_rate)
        return {"sign": "negative" if goal else "positive", **overrides}
    if name != "gail":
        return dict(overrides)
    return {**_settings_of_gail(demonstrations, overrides, random_termination_rate), **overrides}


def _settings_of_gail(
    demonstrations: Demonstrations, overrides: Mapping[str, Any], random_rate: Callable[[], float]
) -> dict[str, Any]:
    chosen = {} if "reward" in overrides else _reward_settings(demonstrations, random_rate)
    if has_images(demonstrations.observation_space):
        return {**chosen, **SETTINGS_OF_IMAGES}
    encoder = TransitionEncoder(demonstrations, inputs=overrides.get("inputs", DiscriminatorConfig.inputs))
    is_continuous = isinstance(demonstrations.action_space, spaces.Box)
    if is_continuous and len(demonstrations) < FEW * int(encoder.scale.count_nonzero()):
        chosen["gradient_penalty"] = PENALTY_OF_FEW
    if not is_continuous and _pays_gail({**chosen, **overrides}):
        chosen["learning_rate"] = ALERT_LEARNING_RATE
    return chosen


def _reward_settings(demonstrations: Demonstrations, random_rate: Callable[[], float]) -> dict[str, Any]:
    if _reaches_goal(demonstrations, random_rate):
        return {"reward": "log_d", "absorbing_states": False}
    if _avoids_ends(demonstrations, random_rate):
        return {"expert_termination_rate": 0.0}
    return {}


def _reaches_goal(demonstrations: Demonstrations, random_rate: Callable[[], float]) -> bool:
    """Whether most of the expert's episodes terminate, and sooner than those of random actions: by success."""
    most_terminate = bool(demonstrations.whole.terminated.mean() > 0.5)
    return most_terminate and demonstrations.termination_rate > random_rate()


def _avoids_ends(demonstrations: Demonstrations, random_rate: Callable[[], float]) -> bool:
    """Whether the expert's episodes terminate, but far more rarely than those of random actions."""
    return 0 < AVOIDED * demonstrations.termination_rate <= random_rate()


def _pays_gail(settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("reward", DiscriminatorConfig.reward) == "gail")


def choose_causal_entropy(name: str, demonstrations: Demonstrations, settings: Mapping[str, Any]) -> float:
    """The weight of the policy's entropy beside a named adversary with all its settings.

    Other rewards than `gail` are on other scales, or have each step cost, and then entropy would pay for tarrying.
    """
    if name != "gail" or not _pays_gail(settings):
        return 0.0
    return CAUSAL_ENTROPY["continuous" if isinstance(demonstrations.action_space, spaces.Box) else "discrete"]


def choose_pretrain(
    name: str,
    demonstrations: Demonstrations,
    settings: Mapping[str, Any],
    *,
    random_termination_rate: Callable[[], float],
) -> bool:
    """Whether to clone first, beside a named adversary with all its settings: where the expert reaches a goal.

    What an untaught policy has to find first is the way there, and until then all that it meets is the cost of each
    step. Actions that `gail` does not look at are not cloned either: they may stand in for ones that nobody recorded.
    """
    looks_at_actions = name != "gail" or "a" in settings.get("inputs", DiscriminatorConfig.inputs)
    return looks_at_actions and _reaches_goal(demonstrations, random_termination_rate)


def make_adversary(
    name: str, demonstrations: Demonstrations, settings: Mapping[str, Any], *, device: str = "auto"
) -> Adversary:
    """A fresh adversary, with all settings that `adversary_settings` gave."""
    if name in _NETWORKS:
        return _NETWORKS[name][0].from_demonstrations(demonstrations, device=device, **settings)
    return _LINEAR[name].from_demonstrations(demonstrations, **settings)
