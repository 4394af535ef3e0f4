"""Draws `rewards.svg`: python docs/images/rewards.py."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import torch

from sb3_gail.rewards import REWARDS

FORMULAS = {
    "gail": "gail: -log(1 - D)",
    "log_d": "log_d: log D",
    "airl": "airl: log D - log(1 - D)",
    "fairl": "fairl: -logit · exp(logit)",
}

plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rewards", "font.family": "sans-serif", "font.size": 10})
logits = torch.linspace(-4, 4, 81)
figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
axes.axhline(0, color="0.6", linewidth=0.8)
axes.axvline(0, color="0.6", linewidth=0.8)
for name, reward in REWARDS.items():
    axes.plot(logits, reward(logits), label=FORMULAS[name], linewidth=2)
axes.set(ylim=(-4.2, 4.2), xlabel="logit  (← policy       expert →)", ylabel="reward of a step")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})
