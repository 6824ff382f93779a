"""Going back after a divergence: how often a run did, and by how much its learning rate is cut since."""

import os

from webvision.errors import DivergedError
from webvision.files import write_json
from webvision.training.state.files import parse_rollbacks, read_state

MOST = 3  # three cuts to a tenth: a rate that is still too high then is not the reason
CUT = 0.1


class Rollbacks:
    """The rollbacks of one run, kept in rollbacks.json of its folder, so that a restart keeps the cuts and the
    count."""

    def __init__(self, folder):
        self._path = os.path.join(folder, "rollbacks.json")
        what = "it holds [step of divergence, step gone back to] for each cut of the learning rate"
        self._steps = read_state(self._path, parse_rollbacks, what) or []

    @property
    def rate_scale(self):
        """What the recipe's learning rate is multiplied by."""
        return CUT ** len(self._steps)

    @property
    def last_back_to(self):
        """The step that the last rollback went back to, or None."""
        return self._steps[-1][1] if self._steps else None

    def refuse_more(self, error):
        """DivergedError, saying so, if `error` comes after as many rollbacks as there may be."""
        if len(self._steps) >= MOST:
            raise DivergedError(
                f"{error}. It went back {MOST} times already, each time with a tenth of the learning rate",
                step=error.step,
            )

    def add(self, diverged, *, back_to):
        """Note a divergence after step `diverged`, and that the run goes back to step `back_to`."""
        self._steps.append([diverged, back_to])
        write_json(self._path, self._steps)
