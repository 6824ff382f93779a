"""A training run from its folder to its end: lock, header, and one attempt after another."""

import contextlib
import os

from webvision import faults, watchdog
from webvision.errors import DivergedError, UsageError
from webvision.files import directory_lock
from webvision.model.session import require_gpus
from webvision.training.attempt import Attempt
from webvision.training.state import run_folder
from webvision.training.state.checkpoints import CheckpointFolder
from webvision.training.state.stopping import StopRequest
from webvision.training.watching.run_log import log_to

from tensorpack.utils import logger


def fit(job):
    """Train until the recipe's last epoch or its goal, from the newest checkpoint of the run folder if there is one."""
    if job.ending.stop_at and job.pictures.val is None:
        raise UsageError("--stop-at needs a labelled val list to measure on")
    require_gpus(job.computing.devices.gpus)
    os.makedirs(job.folder, exist_ok=True)
    with (
        directory_lock(job.folder),
        watchdog.watch(job.ending.hang_limit, folder=job.folder),
        StopRequest(job.ending.exit_code) as stop,
    ):
        changes = run_folder.open_run(job.folder, job.description)
        faults.point("start")
        with log_to(job.folder), contextlib.closing(job.pictures.val) if job.pictures.val else contextlib.nullcontext():
            every = job.keeping.every_epochs
            checkpoints = CheckpointFolder(
                job.folder, keep=job.keeping.last, keep_every=every and every * job.recipe.steps_per_epoch
            )
            _log_header(job, changes)
            while not _attempt(job, checkpoints, stop):
                watchdog.reach("start-up")


def _attempt(job, checkpoints, stop):
    """Train from the newest whole checkpoint. False if the loss diverged and the run is to go on with a lower rate."""
    attempt = Attempt(job, checkpoints, stop)
    if over := attempt.why_over():
        logger.info("%s", over)
        return True
    try:
        early = attempt.run()
    except DivergedError as error:
        if job.ending.on_nan != "rollback":
            raise
        attempt.go_back(error)
        return False
    logger.info("%s; checkpoints and log are in %s", early or f"Trained {job.recipe.epochs} epochs", job.folder)
    return True


def _log_header(job, changes):
    for line in run_folder.header_lines(job.description):
        logger.info(line)
    for change in changes:
        logger.warning("Changed since the run began: %s", change)
