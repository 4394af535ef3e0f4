"""Whether demonstrations are of the task that an agent trains on, and say rightly how its episodes end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gymnasium.envs.registration import EnvSpec

from sb3_gail.demonstrations import Demonstrations


def evidence_of_another_task(demonstrations: Demonstrations, spec: EnvSpec) -> Iterator[str]:
    """What speaks against demonstrations, each as a sentence that says what to do.

    Nothing here is proof, where spaces fit: an environment may be registered under a name of one's own, and a person
    may cut an episode anywhere.

    Args:
        demonstrations: The expert's.
        spec: Of the environment that is trained on.
    """
    if demonstrations.env_id is not None and _name(demonstrations.env_id) != _name(spec.id):
        yield (
            f"the demonstrations name the environment {demonstrations.env_id}, training is on {spec.id}: use "
            f"demonstrations of {spec.id}, or give these its env_id if they are"
        )
    if spec.max_episode_steps is not None:
        yield from _evidence_of_wrong_ends(demonstrations, spec.max_episode_steps)


def _evidence_of_wrong_ends(demonstrations: Demonstrations, time_limit: int) -> Iterator[str]:
    lengths, terminated = demonstrations.lengths, demonstrations.whole.terminated
    limit = f"the environment's time limit of {time_limit} steps"
    if lengths.max() > time_limit:
        yield (
            f"a demonstrated episode has {lengths.max()} steps, more than {limit}: correct the lengths, or make the "
            f"environment with max_episode_steps={lengths.max()}"
        )
    elif not terminated.any() and lengths.max() < time_limit:
        yield (
            f"no demonstrated episode terminates, yet all are shorter than {limit} ({lengths.min()} to {lengths.max()} "
            f"steps): if it was the task that ended them, say so by terminated=True, or the agent learns to avoid it"
        )
    elif terminated.any() and (at_limit := (lengths[terminated] == time_limit)).mean() > 0.5:
        yield (
            f"{at_limit.sum()} of {len(at_limit)} demonstrated episodes that terminate do so at {limit}: if it was the "
            f"limit that ended them, they are truncated, and terminated is False"
        )


def _name(env_id: str) -> str:
    """Without module, namespace and version, whose environments have the same task."""
    return re.sub(r"^.*[:/]|-v\d+$", "", env_id)
