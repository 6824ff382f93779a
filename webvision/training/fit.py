"""Training, put together: run folder, loaders, graph, callbacks, and the loop over them."""
import contextlib
import os
from dataclasses import dataclass
from typing import Callable

from webvision import faults
from webvision.compat import tf, tfv1
from webvision.errors import printable
from webvision.files import directory_lock
from webvision.model.classifier import Arithmetic, Classifier
from webvision.model.backbones import Network
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.model.weights import load_into, open_weights
from webvision.training import run_folder
from webvision.training.callbacks import LearningRate, Saving, StepWatch
from webvision.training.checkpoints import CheckpointFolder, CheckpointWriter, State
from webvision.training.recipe import Recipe
from webvision.training.reports import EpochLine, History
from webvision.training.trace import TraceStep
from webvision.training.trainer import (MeteredFlow, ReplicatedTrainer, SessionCreator, TotalBatchInput, session_config,
                                        staged)
from webvision.training.validation import Validation

from tensorpack.callbacks import MergeAllSummaries, MovingAverageSummary, ProgressBar, RunUpdateOps, TFEventWriter
from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.utils import logger


@dataclass(frozen=True)
class Job:
    """Everything a training run is of; loaders are given as functions, since the run folder decides where they start."""
    folder: str
    network: Network
    recipe: Recipe
    arithmetic: Arithmetic
    towers: int
    on_gpu: bool
    seed: int
    list_hash: str
    entries: int                       # of one pass over the balanced list
    train_loader: Callable             # of the number of pictures trained on before -> endless tensorpack DataFlow
    val_loader: object | None
    description: dict                  # for run.json and the header
    load: str | None = None
    finetune: bool = False
    sync_bn: bool = False
    xla: bool = False
    trace: bool = False
    log_every: int = 100
    save_every_seconds: float = 600
    keep: int = 10
    exit_code: int | None = None       # after a signal; None: 128 + signal


def fit(job):
    """Train until the recipe's last epoch, from the newest checkpoint of the run folder if there is one."""
    os.makedirs(job.folder, exist_ok=True)
    with directory_lock(job.folder), contextlib.ExitStack() as stack:
        changes = run_folder.open_run(job.folder, job.description)
        faults.point("start")
        run_folder.log_to(job.folder)
        checkpoints = CheckpointFolder(job.folder, keep=job.keep)
        checkpoints.sweep()
        state = checkpoints.newest_whole()
        _log_header(job, state, changes)
        step = state.step if state else 0
        history = History(job.folder, restored_step=step)
        if step >= job.recipe.total_steps and history.epochs_recorded() >= job.recipe.epochs:
            logger.info("This run has done all of its %d epochs; more --epochs go on with it", job.recipe.epochs)
            return
        loader = stack.enter_context(contextlib.closing(job.train_loader(step * job.recipe.batch)))
        flow = MeteredFlow(loader)
        if job.val_loader is not None:
            stack.enter_context(contextlib.closing(job.val_loader))
        with tf.Graph().as_default():
            _train(job, flow, checkpoints, history, step)
        _report_bad("train", loader.bad)
        if job.val_loader is not None:
            _report_bad("val", job.val_loader.bad)
    logger.info("Trained %d epochs; checkpoints and log are in %s", job.recipe.epochs, job.folder)


def _train(job, flow, checkpoints, history, step):
    batch_norm = (lambda: synchronised_batch_norm(on_gpu=job.on_gpu)) if job.sync_bn and job.towers > 1 else None
    model = Classifier(job.network, job.arithmetic, weight_decay=job.recipe.weight_decay, momentum=job.recipe.momentum,
                       seed=job.seed, batch_norm_scope=batch_norm)
    trainer = ReplicatedTrainer(job.towers, on_gpu=job.on_gpu)
    trainer.input_flow = flow
    batches = staged(TotalBatchInput(flow, job.towers), on_gpu=job.on_gpu)
    trainer.setup_graph(model.get_input_signature(), batches, model.build_graph, model.get_optimizer)
    trainer.epoch_ends_recorded = history.epochs_recorded
    initial = _InitialWeights(job, checkpoints, step)
    trainer.train(_callbacks(job, model, flow, checkpoints, initial),
                  [TFEventWriter(job.folder), history, EpochLine(job.recipe.epochs)],
                  SessionCreator(session_config(on_gpu=job.on_gpu, towers=job.towers, xla=job.xla)),
                  initial, job.recipe.steps_per_epoch, 1, job.recipe.epochs)


def _callbacks(job, model, flow, checkpoints, initial):
    def state_at(step):
        seen = step * job.recipe.batch
        return State(step, job.seed, seen // job.entries, seen % job.entries, job.list_hash)

    callbacks = [RunUpdateOps(),
                 StepWatch(job.recipe.batch, flow, log_every=job.log_every, batches_ahead=int(job.on_gpu))]
    if job.trace:
        callbacks.append(TraceStep(job.folder))
    # Saved before it is validated: a run that ends in validation continues from here.
    callbacks.append(Saving(lambda: initial.writer, state_at, every_seconds=job.save_every_seconds, exit_code=job.exit_code))
    if job.val_loader is not None:
        devices = [f"/gpu:{i}" for i in range(job.towers)] if job.on_gpu else ["/cpu:0"]
        callbacks.append(Validation(model, job.val_loader, devices=devices, num_classes=job.network.num_classes,
                                    on_result=checkpoints.note_error))
    # The rate of the next epoch is set last, so that a step's checkpoint is the same whether or not its epoch has ended.
    return callbacks + [MovingAverageSummary(), MergeAllSummaries(), LearningRate(job.recipe), ProgressBar()]


class _InitialWeights(SessionInit):
    """The run's own newest checkpoint, else the weights of --load, else what the initialisers gave."""

    def __init__(self, job, checkpoints, step):
        self._job = job
        self._checkpoints = checkpoints
        self._step = step

    def _setup_graph(self):
        self.writer = CheckpointWriter(self._checkpoints)

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


def _log_header(job, state, changes):
    for line in run_folder.header_lines(job.description):
        logger.info(line)
    for change in changes:
        logger.warning("Changed since the run began: %s", change)
    if state:
        logger.info("Continuing after step %d of %d (pass %d over the list, entry %d of %d)", state.step,
                    job.recipe.total_steps, state.epoch + 1, state.position, job.entries)
    else:
        logger.info("New run in %s: %d epochs of %d steps", job.folder, job.recipe.epochs, job.recipe.steps_per_epoch)


def _report_bad(split, bad):
    if bad.count:
        logger.warning("%d of %d pictures of %s could not be read (%s), the first: %s", bad.count, bad.seen, split, bad,
                       ", ".join(printable(name) for name in list(bad.names)[:3]))
