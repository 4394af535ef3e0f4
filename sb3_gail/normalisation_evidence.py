"""Whether demonstrations were recorded behind `VecNormalize`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sb3_gail.transitions import Array, Observations

_FEWEST_ROWS = 200  # fewer are too few to estimate deviations from, as they follow one another in time
_STANDARDISED = 0.8
_CLOSER_THAN = 0.7
_CAP = 2.0


def evidence_of_normalisation(expert_observations: Observations, policy_observations: Observations) -> str | None:
    """What speaks for an expert's observations being normalised while the environment's are raw.

    A feature's distance from being standardised is `|mean| + |log deviation|`, at most 2. An expert is suspicious if
    the mean distance over its features is small, and much smaller than that of the policy's observations: where the
    environment itself gives standardised observations, nobody is. The raw observations of the authors' nine experts
    have distances of .85 and more, mostly more than a random policy's; normalised by the statistics of half expert,
    half random data, .74 at most and .62 of the random policy's. Images and integers are not looked at.

    Args:
        expert_observations: `[E, *obs]`, or a mapping of such.
        policy_observations: `[B, *obs]` of a rollout, before any `VecNormalize`.

    Returns:
        The means and deviations of both and what to do, as a sentence; `None` without such evidence or with few rows.
    """
    expert, policy = _float_features(expert_observations), _float_features(policy_observations)
    if expert is None or policy is None or min(len(expert), len(policy)) < _FEWEST_ROWS:
        return None
    theirs, ours = _distance(expert), _distance(policy)
    if theirs is None or ours is None or theirs > _STANDARDISED or theirs > _CLOSER_THAN * ours:
        return None
    return (
        f"the demonstrations look normalised, the environment's observations do not: theirs have {_spread(expert)}, "
        f"the environment's {_spread(policy)}; record raw observations (VecNormalize.get_original_obs()), or undo the "
        "normalisation with the statistics that it was done with"
    )


def _float_features(observations: Observations) -> Array | None:
    """`[B, F]`: all features that are floats, side by side."""
    parts = observations.values() if isinstance(observations, Mapping) else [observations]
    columns = [np.asarray(part).reshape(len(part), -1) for part in parts if part.dtype.kind == "f"]
    return np.concatenate(columns, axis=1) if columns else None


def _statistics(features: Array) -> tuple[Array, Array]:
    """Means and deviations of the features that vary."""
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.maximum(1, np.abs(mean))
    return mean[varies], deviation[varies]


def _distance(features: Array) -> float | None:
    mean, deviation = _statistics(features)
    return float(np.minimum(np.abs(mean) + np.abs(np.log(deviation)), _CAP).mean()) if len(mean) else None


def _spread(features: Array) -> str:
    mean, deviation = _statistics(features)
    low, middle, high = np.quantile(deviation, (0.1, 0.5, 0.9))
    return (
        f"a median |mean| of {np.median(np.abs(mean)):.2g} and deviations of {low:.2g}, {middle:.2g} and {high:.2g} "
        "(10%, 50%, 90% of the features)"
    )
