"""Whole runs, from settings to a trained and evaluated agent in a folder: what the command line does."""

from sb3_gail.runs.agents import load_agent
from sb3_gail.runs.folder import Point, Run
from sb3_gail.runs.settings import ExpertSettings, RunSettings, TrainSettings
from sb3_gail.runs.training import resume, train, train_expert

__all__ = [
    "ExpertSettings",
    "Point",
    "Run",
    "RunSettings",
    "TrainSettings",
    "load_agent",
    "resume",
    "train",
    "train_expert",
]
