"""Times learners against one another on a machine whose speed drifts: an iteration of each in turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from stable_baselines3.common.callbacks import BaseCallback


class IterationTimer(BaseCallback):
    """Waits for its turn before each rollout, and notes the seconds of each iteration: a rollout and what follows it.

    Args:
        mine: Released when it is this learner's turn.
        next_one: Whose turn it is then.
    """

    def __init__(self, mine: threading.Semaphore, next_one: threading.Semaphore) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._mine, self._next_one = mine, next_one
        self._started: float | None = None

    def _on_rollout_start(self) -> None:
        self._hand_over()
        self._mine.acquire()
        self._started = time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._hand_over()

    def _hand_over(self) -> None:
        if self._started is not None:
            self.seconds.append(time.perf_counter() - self._started)
            self._next_one.release()


def iterations_in_turn(learners: Sequence[Callable[[BaseCallback], object]]) -> list[list[float]]:
    """Seconds of each iteration of some learners, of which only one at a time is at work.

    Args:
        learners: Each learns with a callback, in as many iterations as the others.

    Returns:
        One list for each learner.
    """
    turns = [threading.Semaphore(0) for _ in learners]
    timers = [IterationTimer(mine, turns[(i + 1) % len(turns)]) for i, mine in enumerate(turns)]
    n_threads = torch.get_num_threads()

    def learn(learner: Callable[[BaseCallback], object], timer: IterationTimer) -> None:
        torch.set_num_threads(n_threads)  # a setting of each thread
        try:
            learner(timer)
        except BaseException:
            for turn in turns:
                turn.release(1_000_000)  # nobody is to wait for a learner that failed
            raise

    with ThreadPoolExecutor(len(turns)) as pool:
        learning = [pool.submit(learn, learner, timer) for learner, timer in zip(learners, timers, strict=True)]
        turns[0].release()
        for future in learning:
            future.result()
    return [timer.seconds for timer in timers]
