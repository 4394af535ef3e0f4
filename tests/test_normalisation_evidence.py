"""Normalised demonstrations are noticed, raw ones are not."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from sb3_gail.normalisation_evidence import evidence_of_normalisation
from sb3_gail.transitions import Array

DEMOS = Path(__file__).resolve().parents[2] / "shared" / "demos"
RNG = np.random.default_rng(0)
MEANS, DEVIATIONS = np.array([1.2, 0, -3, 100, 0.5]), np.array([0.1, 5, 0.3, 20, 0.02])
RAW = RNG.normal(MEANS, DEVIATIONS, (500, 5)).astype(np.float32)
POLICY = RNG.normal(MEANS * 0.8, DEVIATIONS * 1.5, (400, 5)).astype(np.float32)


def normalised(rows: Array, by: Array) -> Array:
    result: Array = np.clip((rows - by.mean(axis=0)) / np.sqrt(by.var(axis=0) + 1e-8), -10, 10)
    return result


def test_normalised_against_raw() -> None:
    evidence = evidence_of_normalisation(normalised(RAW, by=RAW), POLICY)
    assert evidence is not None
    assert "a median |mean| of" in evidence
    assert "deviations of 1, 1 and 1 (10%, 50%, 90%" in evidence


def test_raw_against_raw_and_normalised_against_normalised() -> None:
    assert evidence_of_normalisation(RAW, POLICY) is None
    assert evidence_of_normalisation(normalised(RAW, by=RAW), normalised(POLICY, by=POLICY)) is None
    assert evidence_of_normalisation(RAW, normalised(POLICY, by=POLICY)) is None


def test_dict_observations_count_with_their_floats() -> None:
    images = np.zeros((500, 4, 4, 3), np.uint8)
    expert = {"vector": normalised(RAW, by=RAW), "image": images}
    assert evidence_of_normalisation(expert, {"vector": POLICY, "image": images[:400]}) is not None
    assert evidence_of_normalisation(images, images) is None


def test_too_little_to_tell() -> None:
    assert evidence_of_normalisation(normalised(RAW, by=RAW), POLICY[:50]) is None
    assert evidence_of_normalisation(np.zeros_like(RAW), POLICY) is None  # nothing varies


FILES = sorted(DEMOS.glob("*.npz"))


@pytest.mark.skipif(not FILES, reason="needs the shared demonstrations")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_authors_experts_against_random_policies(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes its log
    with np.load(path) as file:
        expert, env_id = file["observations"], str(file["env_id"])
    try:
        env = gym.make(env_id)
    except (gym.error.Error, ImportError):
        pytest.skip(f"needs {env_id}")
    env.action_space.seed(0)
    policy = [env.reset(seed=1)[0]]
    while len(policy) < 1000:
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        policy.append(observation)
        if terminated or truncated:
            policy.append(env.reset()[0])
    env.close()
    rollout = np.array(policy)
    half = np.concatenate([np.resize(rollout, expert.shape), expert])
    assert evidence_of_normalisation(expert, rollout) is None
    assert evidence_of_normalisation(normalised(expert, by=expert), rollout) is not None
    assert evidence_of_normalisation(normalised(expert, by=half), rollout) is not None
