"""The settings of a run, and their file."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from sb3_gail.json_files import read_json, write_json
from sb3_gail.runs.learners import ON_POLICY, VecEnvKind, learner_settings
from sb3_gail.runs.named_adversaries import AdversaryName, spelt_out

_LARGEST_SEED = 2**32 - 1
"""NumPy takes none that is larger."""

Value = int | float | bool | str
"""What a setting may be on the command line."""


@dataclass(frozen=True)
class RunSettings:
    """What all runs have in common.

    Attributes:
        env: The Gymnasium id of the environment.
        algorithm: The learner.
        total_timesteps: Environment steps, of all copies together; training ends with the rollout that reaches them.
        n_envs: Copies of the environment; by default 32, or 8 if its actions are discrete, or if a rollout then has
            whole demonstrated episodes and else only parts of them. TRPO's and PPO's rollouts have about 2048 steps
            whatever it is, or 16,384 where an observation is a vector of more than 200 numbers.
        vec_env: What runs them: `envpool`, `dummy` for SB3's `DummyVecEnv`, or `auto` for EnvPool where it is installed
            and has the environment.
        seed: Seeds the learner, the environments and the choice of subsampled transitions.
        learner: Arguments of the learner that differ from our settings, such as `gamma 0.995 n_steps 512`. An imitating
            one's first actions deviate as the expert's do, but by at least a tenth of half their range, and keep what
            that adds (`policy_kwargs` or `use_sde` of your own end that).
        n_eval_episodes: Deterministic episodes in each evaluation.
        device: Where networks live: `cpu`, `cuda` or `auto`. Small ones are fastest on the CPU.
        threads: Threads of one torch operation. Small networks are slower on many.
        run_dir: The folder to write; by default a new one in `runs`.

    Raises:
        ValueError: If a setting is out of range, or the learner has none of that name.
    """

    env: str = "CartPole-v1"
    algorithm: Literal["trpo", "ppo", "a2c", "sac"] = "trpo"
    total_timesteps: int = 300_000
    n_envs: int | None = None
    vec_env: VecEnvKind = "auto"
    seed: int = 0
    learner: dict[str, Value] = field(default_factory=dict)
    n_eval_episodes: int = 20
    device: str = "cpu"
    threads: int = 1
    run_dir: Path | None = None

    def __post_init__(self) -> None:
        learner_settings(self.algorithm, self.learner)
        if self.vec_env not in get_args(VecEnvKind):
            raise ValueError(f"vec_env must be one of {', '.join(get_args(VecEnvKind))}, got {self.vec_env!r}")
        for name in ("total_timesteps", "n_eval_episodes", "threads"):
            _check_positive(name, getattr(self, name))
        if self.n_envs is not None:
            _check_positive("n_envs", self.n_envs)
        if not isinstance(self.seed, int) or not 0 <= self.seed <= _LARGEST_SEED:
            raise ValueError(f"seed must be a whole number from 0 to {_LARGEST_SEED}, got {self.seed!r}")


@dataclass(frozen=True)
class ExpertSettings(RunSettings):
    """Settings of an expert: a learner on the environment's own reward."""


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """Settings of a run that imitates demonstrations.

    Attributes:
        demonstrations: Their file; by default the one that ships for the environment.
        trajectories: How many of its episodes to use, the first ones; by default all.
        subsample: Take one transition in so many, from a random one on in each episode.
        shuffle_demonstrations: Permute each of their columns: a control that carries no information.
        adversary: What tells policy from expert: `gail`'s discriminator, `airl`'s, or the linear costs of `fem` and
            `gtal`.
        discriminator: The adversary's settings that differ from ours, such as `gradient_penalty 10`. Ours are the
            defaults of `DiscriminatorConfig` or `AIRLConfig`; `fem` and `gtal` have a `sign`, `gtal` has
            `multiplicative_iterations`, too. What follows from the demonstrations: `gail` has the reward `log_d`
            without absorbing states where the expert ends most episodes, and sooner than random actions do, as one who
            reaches a goal; there the `sign` is `negative`, elsewhere `positive`. Where random actions end episodes at
            least ten times as often as the expert, `gail` has an `expert_termination_rate` of 0 (unless its `reward` is
            given); where actions are continuous and transitions few for their size, a `gradient_penalty` of 0.3 (not on
            images); on images, or where actions are discrete and the reward is `gail`, a `learning_rate` that stays at
            1e-3; on images a step for every 32 `transitions_per_step`.
        replay_rollouts: Past rollouts that the discriminator sees beside the new one.
        causal_entropy: Weight of the policy's entropy, which is added to the reward; by default, where the
            reward is `gail`, 0.03 for discrete and 0.01 for continuous actions, and 0 elsewhere.
        pretrain: Clone the demonstrations' behaviour first, hold the policy until critic and discriminator have caught
            up with it, and let the cloning term fade out; by default where the expert reaches a goal (as above), unless
            `gail` is not to look at actions.
        eval_freq: Environment steps between evaluations of the true return.
        checkpoint_freq: Environment steps between checkpoints.
        wandb_project: Log to this project of Weights & Biases, too.

    Raises:
        ValueError: If a setting is out of range, or the learner or the adversary has none of that name.
    """

    algorithm: Literal["trpo", "ppo", "a2c"] = "trpo"
    demonstrations: Path | None = None
    trajectories: int | None = None
    subsample: int = 1
    shuffle_demonstrations: bool = False
    adversary: AdversaryName = "gail"
    discriminator: dict[str, Value] = field(default_factory=dict)
    replay_rollouts: int = 0
    causal_entropy: float | None = None
    pretrain: bool | None = None
    eval_freq: int = 20_000
    checkpoint_freq: int = 20_000
    wandb_project: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm not in ON_POLICY:
            raise ValueError(f"algorithm must be one of {', '.join(ON_POLICY)}, got {self.algorithm!r}")
        for name in ("subsample", "eval_freq", "checkpoint_freq"):
            _check_positive(name, getattr(self, name))
        if self.trajectories is not None:
            _check_positive("trajectories", self.trajectories)
        if self.causal_entropy is not None:
            _check_weight("causal_entropy", self.causal_entropy)
        try:
            spelt_out(self.adversary, self.discriminator)
        except TypeError as error:  # which type a setting has is for whoever typed it a matter of its value
            raise ValueError(str(error)) from error


def write_settings(path: Path, settings: RunSettings) -> None:
    """Writes what is run, defaults spelt out: they may be others when the run is resumed.

    Raises:
        TypeError: If a setting cannot be written, such as a function.
    """
    values = asdict(settings) | {"learner": learner_settings(settings.algorithm, settings.learner), "run_dir": None}
    if isinstance(settings, TrainSettings):
        values["discriminator"] = spelt_out(settings.adversary, settings.discriminator)
        values["demonstrations"] = settings.demonstrations and str(settings.demonstrations.resolve())
    write_json(path, {"command": "train" if isinstance(settings, TrainSettings) else "expert", **values})


def read_settings(path: Path) -> RunSettings:
    """Reads what `write_settings` wrote.

    Raises:
        ValueError: If it is something else.
    """
    values: dict[str, Any] = read_json(path)
    try:
        for name in ("verbose", "tensorboard_log"):  # runs took them once, without effect
            values["learner"].pop(name, None)
        if values.pop("command") == "expert":
            return ExpertSettings(**values)
        demonstrations = values.pop("demonstrations")
        values.setdefault("causal_entropy", 0.0)  # as in runs from before there was any
        discriminator: dict[str, Any] = {
            name: tuple(it) if isinstance(it, list) else it for name, it in values.pop("discriminator").items()
        }
        return TrainSettings(
            demonstrations=demonstrations and Path(demonstrations), discriminator=discriminator, **values
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected the settings of a run, got others in {path}: {error!r}") from error


def _check_weight(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value!r}")
