"""Each training picture's mean logit margin over the run, in 6 bytes: the sum of its margins and their count.

Pleiss et al. 2020, "Identifying mislabeled data using the area under the margin ranking". A margin counts where the
picture was shown unmixed, at the list row of the picture that was shown. Which it was is not asked by position: the
row travels with the picture.
"""

import numpy as np

from webvision.compat import tfv1
from webvision.scoring.predictions.margins_file import Margins

from tensorpack.callbacks import Callback

MARGIN, ROW, UNMIXED = "margin", "margin-row", "unmixed"  # tensors of a tower


class MarginKeeper(Callback):
    """Adds each step's margins to `margins`; stands before the callback that saves."""

    def __init__(self, margins: Margins):
        self._margins = margins

    def _setup_graph(self):
        towers = self.trainer.tower_func.towers.training()
        self._fetch = tfv1.train.SessionRunArgs(
            [[tower.get_tensor(name) for tower in towers] for name in (ROW, MARGIN, UNMIXED)]
        )

    def _before_run(self, _):
        return self._fetch

    def _after_run(self, _, values):
        rows, margins, unmixed = map(np.concatenate, values.results)
        self._margins.add(rows[unmixed], margins[unmixed])
