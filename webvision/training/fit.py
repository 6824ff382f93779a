"""Training, put together: run folder, loaders, graph, callbacks, and the loop over them."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from webvision import faults, watchdog
from webvision.compat import tf, tfv1
from webvision.errors import DivergedError, ResourceError, UsageError, printable
from webvision.files import directory_lock
from webvision.model.backbones import Network
from webvision.model.card import Card
from webvision.model.forward import Arithmetic
from webvision.model.session import session_config
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.model.weights import load_into, open_weights
from webvision.scoring.figures.stop_rules import StopRule, with_accuracies
from webvision.training import run_folder
from webvision.training.callbacks import LearningRate, Saving, StepWatch
from webvision.training.checkpoints import CheckpointFolder, CheckpointWriter, State
from webvision.training.histograms import WithHistograms
from webvision.training.objective import Classifier
from webvision.training.recipes import Recipe
from webvision.training.reports import EpochLine, EventFile, History
from webvision.training.rollback import Rollbacks
from webvision.training.run_log import log_to
from webvision.training.stopping import StopRequest
from webvision.training.trace import TraceStep
from webvision.training.trainer import ReplicatedTrainer, SessionCreator, TotalBatchInput, WatchedFlow, staged
from webvision.training.validation import Validation

from tensorpack.callbacks import MergeAllSummaries, MovingAverageSummary, ProgressBar, RunUpdateOps
from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.utils import logger


@dataclass(frozen=True)
class Job:
    """Everything a training run is of; loaders are given as functions, since the run folder decides where they
    start."""

    folder: str
    network: Network
    recipe: Recipe
    arithmetic: Arithmetic
    towers: int
    on_gpu: bool
    seed: int
    list_hash: str
    entries: int  # of one pass over the balanced list
    train_loader: Callable  # of the number of pictures trained on before -> endless tensorpack DataFlow
    val_loader: object | None
    description: dict  # for run.json and the header
    card: Card  # what its checkpoints mean
    load: str | None = None
    finetune: bool = False
    sync_bn: bool = False
    colour_on: str = "worker"  # or "device": the training loader then yields colour matrices too
    xla: bool = False
    trace: bool = False
    log_every: int = 100
    save_every_seconds: float = 600
    save_patience: float = 1800  # seconds for which a disk may refuse checkpoints before the run ends
    keep: int = 10
    keep_every: int | None = None  # epochs between checkpoints that stay for ever
    on_nan: str = "stop"  # or "rollback"
    stop_at: StopRule | None = None  # of the validation's figures
    histograms: bool = False
    hang_limit: float | None = None  # seconds; None: watchdog.LIMITS, 0: no watchdog
    exit_code: int | None = None  # after a signal; None: 128 + signal


def fit(job):
    """Train until the recipe's last epoch or its goal, from the newest checkpoint of the run folder if there is one."""
    if job.stop_at and job.val_loader is None:
        raise UsageError("--stop-at needs a labelled val list to measure on")
    os.makedirs(job.folder, exist_ok=True)
    with (
        directory_lock(job.folder),
        watchdog.watch(job.hang_limit, folder=job.folder),
        StopRequest(job.exit_code) as stop,
    ):
        changes = run_folder.open_run(job.folder, job.description)
        faults.point("start")
        with log_to(job.folder), contextlib.closing(job.val_loader) if job.val_loader else contextlib.nullcontext():
            checkpoints = CheckpointFolder(
                job.folder, keep=job.keep, keep_every=job.keep_every and job.keep_every * job.recipe.steps_per_epoch
            )
            _log_header(job, changes)
            while not _fit_from_newest(job, checkpoints, stop):
                watchdog.reach("start-up")


def _fit_from_newest(job, checkpoints, stop):
    """Train from the newest whole checkpoint. False if the loss diverged and the run is to go on with a lower rate."""
    checkpoints.sweep()
    checkpoints.refuse_unknown()
    state = checkpoints.newest_whole()
    step = state.step if state else 0
    history = History(job.folder, restored_step=step)
    rollbacks = Rollbacks(job.folder)
    if over := _why_over(job, history, step):
        logger.info("%s", over)
        return True
    _log_start(job, state, rollbacks)
    try:
        stop.heed("before its first step")
        with contextlib.closing(job.train_loader(step * job.recipe.batch)) as loader, tf.Graph().as_default():
            early = _train(job, loader, checkpoints, (history, rollbacks, stop), step)
            _report_bad("train", loader.bad)
    except DivergedError as error:
        if job.on_nan != "rollback":
            raise
        rollbacks.refuse_more(error)
        rollbacks.add(error.step, back_to=_step_to_go_back_to(checkpoints, rollbacks))
        logger.error("%s. Going back", error)
        return False
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceError(
            f"out of memory with --batch {job.recipe.batch} over {job.towers} tower(s) at {job.network.image_size} "
            f"px ({str(error).splitlines()[0]}); a smaller --batch needs less"
        ) from None
    if job.val_loader is not None:
        _report_bad("val", job.val_loader.bad)
    logger.info("%s; checkpoints and log are in %s", early or f"Trained {job.recipe.epochs} epochs", job.folder)
    return True


def _step_to_go_back_to(checkpoints, rollbacks):
    """The newest checkpoint's step; if the run diverged from that one before, it is dropped, and it is the one before
    it."""
    steps = checkpoints.steps()
    if len(steps) > 1 and rollbacks.last_back_to == steps[-1]:
        logger.error("Checkpoint model-%d leads to a divergence at a lower rate too: dropped", steps.pop())
        checkpoints.drop(rollbacks.last_back_to)
    return steps[-1] if steps else 0


def _why_over(job, history, step):
    """Why there is nothing left to train, or None."""
    done = history.epochs_recorded()
    if job.stop_at and done and step == history.latest()["global_step"] and _reached(job.stop_at, history.latest()):
        return f"This run has reached {job.stop_at} after {done} epochs"
    if step >= job.recipe.total_steps and done >= job.recipe.epochs:
        return f"This run has done all of its {job.recipe.epochs} epochs; more --epochs go on with it"
    return None


def _reached(rule, figures):
    found = with_accuracies(figures)
    return all(name in found for name in rule.targets) and rule.reached(found)


def _train(job, loader, checkpoints, run, step):
    """Build the graph and train it; returns why it ended before the last epoch, or None."""
    history, rollbacks, stop = run
    batch_norm = (lambda: synchronised_batch_norm(on_gpu=job.on_gpu)) if job.sync_bn and job.towers > 1 else None
    model = Classifier(
        job.network,
        job.arithmetic,
        weight_decay=job.recipe.weight_decay,
        momentum=job.recipe.momentum,
        seed=job.seed,
        batch_norm_scope=batch_norm,
        colour_on_device=job.colour_on == "device",
    )
    flow = WatchedFlow(loader)
    trainer = ReplicatedTrainer(job.towers, on_gpu=job.on_gpu)
    trainer.input_flow = flow
    batches = TotalBatchInput(flow, job.towers)
    optimizer = (lambda: WithHistograms(model.get_optimizer())) if job.histograms else model.get_optimizer
    trainer.setup_graph(model.get_input_signature(), staged(batches, on_gpu=job.on_gpu), model.build_graph, optimizer)
    stop.heed("before its first step")
    trainer.epoch_ends_recorded = history.epochs_recorded
    initial = _InitialWeights(job, checkpoints, step)

    def on_result(step, figures):
        checkpoints.note_error(step, figures["val-balanced-error-top1"])
        if job.stop_at and _reached(job.stop_at, figures):
            trainer.finished_early = f"Reached {job.stop_at} after step {step}: trained enough"

    callbacks = [
        StepWatch(job.recipe.batch, batches.arrived_at, log_every=job.log_every, staged=job.on_gpu),
        *_callbacks(job, model, initial, stop, on_result),
        LearningRate(job.recipe, scale=rollbacks.rate_scale),
        ProgressBar(),
    ]
    trainer.train(
        callbacks,
        [EventFile(job.folder), history, EpochLine(job.recipe.epochs)],
        SessionCreator(session_config(on_gpu=job.on_gpu, towers=job.towers, xla=job.xla)),
        initial,
        job.recipe.steps_per_epoch,
        1,
        job.recipe.epochs,
    )
    return trainer.finished_early


def _callbacks(job, model, initial, stop, on_result):
    def state_at(step):
        seen = step * job.recipe.batch
        return State(step, job.seed, seen // job.entries, seen % job.entries, job.list_hash)

    callbacks = [RunUpdateOps()]
    if job.trace:
        callbacks.append(TraceStep(job.folder))
    # Saved before it is validated: a run that ends in validation continues from here.
    callbacks.append(
        Saving(
            lambda: initial.writer,
            state_at,
            stop=stop,
            last_step=job.recipe.total_steps,
            every_seconds=job.save_every_seconds,
            patience=job.save_patience,
        )
    )
    if job.val_loader is not None:
        devices = [f"/gpu:{i}" for i in range(job.towers)] if job.on_gpu else ["/cpu:0"]
        callbacks.append(Validation(model.forward, job.val_loader, devices=devices, stop=stop, on_result=on_result))
    return callbacks + [MovingAverageSummary(), MergeAllSummaries()]


class _InitialWeights(SessionInit):
    """The run's own newest checkpoint, else the weights of --load, else what the initialisers gave."""

    def __init__(self, job, checkpoints, step):
        self._job = job
        self._checkpoints = checkpoints
        self._step = step

    def _setup_graph(self):
        self.writer = CheckpointWriter(self._checkpoints, self._job.card)

    def _run_init(self, session):
        if self._step:
            self.writer.restore(session, self._step)
        elif self._job.load:
            weights = open_weights(self._job.load)
            fit = load_into(session, network_variables(), weights, new_head=self._job.finetune)
            logger.info("Weights of %s: %s", weights.path, fit.counts())


def network_variables():
    """The variables of the first tower that make up the network: weights and batch norm's running statistics."""
    averages = [v for v in tfv1.global_variables() if v.op.name.endswith(("/mean/EMA", "/variance/EMA"))]
    return tfv1.trainable_variables() + averages


def _log_header(job, changes):
    for line in run_folder.header_lines(job.description):
        logger.info(line)
    for change in changes:
        logger.warning("Changed since the run began: %s", change)


def _log_start(job, state, rollbacks):
    if state:
        logger.info(
            "Continuing after step %d of %d (pass %d over the list, entry %d of %d)",
            state.step,
            job.recipe.total_steps,
            state.epoch + 1,
            state.position,
            job.entries,
        )
    else:
        logger.info("New run in %s: %d epochs of %d steps", job.folder, job.recipe.epochs, job.recipe.steps_per_epoch)
    if rollbacks.rate_scale != 1:
        logger.warning(
            "The learning rate is %g of the recipe's since the run went back from a divergence", rollbacks.rate_scale
        )


def _report_bad(split, bad):
    if bad.count:
        logger.warning(
            "%d of %d pictures of %s could not be read (%s), the first: %s",
            bad.count,
            bad.seen,
            split,
            bad,
            ", ".join(printable(name) for name in list(bad.names)[:3]),
        )
