"""One attempt at a run: from its newest checkpoint, through graph and callbacks, to its end or a divergence."""

import contextlib

from webvision.compat import tf, tfv1
from webvision.errors import printable
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.model.weights import is_batch_norm_moment, load_into, open_weights
from webvision.scoring.figures.stop_rules import with_accuracies
from webvision.training.callbacks import LearningRate, Saving, StepWatch
from webvision.training.graph.input import TotalBatchInput, TrainingFlow, staged
from webvision.training.graph.learning import Feed, Learning
from webvision.training.graph.memory import shortage_told
from webvision.training.graph.objective import Classifier
from webvision.training.graph.placed import PlacementCheck
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.running_means import RunningMeans
from webvision.training.small_sets.early_stop import is_over, standing
from webvision.training.state.checkpoints import CheckpointWriter, State
from webvision.training.state.rollback import Rollbacks
from webvision.training.validation import AVERAGED, Validation
from webvision.training.watching import step_log
from webvision.training.watching.histograms import WithHistograms
from webvision.training.watching.reports import EpochLine, EventFile, History
from webvision.training.watching.trace import TraceStep

from tensorpack.callbacks import MergeAllSummaries, ProgressBar, RunUpdateOps
from tensorpack.models import BatchNorm
from tensorpack.tfutils.argscope import argscope
from tensorpack.tfutils.sessinit import SessionInit
from tensorpack.utils import logger


class Attempt(SessionInit):
    """A run from where its newest whole checkpoint stands. As tensorpack's SessionInit it gives the first weights."""

    def __init__(self, job, checkpoints, stop):
        self._job, self._checkpoints, self._stop = job, checkpoints, stop
        checkpoints.sweep()
        checkpoints.refuse_unknown()
        checkpoints.best()  # a damaged best.json is told now, not after an epoch
        self._state = checkpoints.newest_whole()
        self.step = self._state.step if self._state else 0
        self._history = History(job.folder, restored_step=self.step)
        self._rollbacks = Rollbacks(job.folder)
        self.writer = None  # of checkpoints, once the graph stands

    def why_over(self):
        """Why there is nothing left to train, or None."""
        done, goal, recipe = self._history.epochs_recorded(), self._job.ending.stop_at, self._job.recipe
        latest = self._history.latest()
        if goal and done and self.step == latest["global_step"] and _reached(goal, latest):
            return f"This run has reached {goal} after {done} epochs"
        patience = recipe.stop_rule()
        if patience and done and self.step == latest["global_step"] and is_over(self._history.epochs(), patience):
            return f"This run has ended early after {done} epochs: {_no_better(self._history.epochs(), patience)}"
        if self.step >= recipe.total_steps and done >= recipe.epochs:
            return f"This run has done all of its {recipe.epochs} epochs; more --epochs go on with it"
        return None

    def run(self):
        """Train; returns why it ended before the last epoch, or None."""
        job = self._job
        self._log_start()
        self._stop.heed("before its first step")
        with (
            shortage_told(job.network, job.recipe.batch, job.computing.devices),
            contextlib.closing(job.pictures.train(self.step * job.recipe.batch)) as batches,
            tf.Graph().as_default(),
        ):
            early = self._train(batches)
            _report_bad("train", batches.bad)
        if job.pictures.val is not None:
            _report_bad("val", job.pictures.val.bad)
        return early

    def go_back(self, error):
        """Note that the run diverged with `error`; the next attempt begins at an earlier step with a lower rate."""
        self._rollbacks.refuse_more(error)
        self._rollbacks.add(error.step, back_to=self._step_to_go_back_to())
        logger.error("%s. Going back", error)

    def _step_to_go_back_to(self):
        """The newest checkpoint's step; if the run diverged from that one before, it is dropped for the one before."""
        steps = self._checkpoints.steps()
        if len(steps) > 1 and self._rollbacks.last_back_to == steps[-1]:
            logger.error("Checkpoint model-%d leads to a divergence at a lower rate too: dropped", steps[-1])
            self._checkpoints.drop(steps[-1])
            del steps[-1]
        return steps[-1] if steps else 0

    def _train(self, batches):
        job, devices = self._job, self._job.computing.devices
        model = self._model()
        feed = Feed(model, seed=job.start.seed, first_step=self.step, weights=job.pictures.weights)
        flow = TrainingFlow(batches, feed)
        queue = TotalBatchInput(flow, devices.count)
        trainer = ReplicatedTrainer(devices, flow=flow, epochs_recorded=self._history.epochs_recorded)
        optimizer = (lambda: WithHistograms(model.get_optimizer())) if job.watching.histograms else model.get_optimizer
        trainer.setup_graph(model.get_input_signature(), staged(queue, devices), model.build_graph, optimizer)
        self._stop.heed("before its first step")
        self._learning = Learning(model, rows=job.pictures.task.rows)
        events = EventFile(job.folder)
        trainer.train(
            self._callbacks(model, queue, trainer, events),
            [events, self._history, EpochLine(job.recipe.epochs)],
            SessionCreator(devices),
            self,
            job.recipe.steps_per_epoch,
            1,
            job.recipe.epochs,
        )
        return trainer.finished_early

    def _model(self):
        job, computing = self._job, self._job.computing
        return Classifier(
            job.network,
            computing.arithmetic,
            recipe=job.recipe,
            task=job.pictures.task,
            preset=job.card.preset,
            seed=job.start.seed,
            batch_norm_scope=_batch_norm_scope(job),
            colour_on_device=job.pictures.spec.colours_on_device,
        )

    def _callbacks(self, model, queue, trainer, events):
        job, devices = self._job, self._job.computing.devices

        def on_result(step, figures):
            if job.watching.log_style == "di":
                logger.info("%s", step_log.validation_line(figures))
                told = {f"evaluator_iter/{name}": value for name, value in step_log.accuracies(figures).items()}
                events.put_scalars(step // job.recipe.steps_per_epoch, told)
            name = "val-balanced-error-top1"
            self._checkpoints.note_error(step, min(figures[name], figures.get(AVERAGED + name, 1.0)))
            if job.ending.stop_at and _reached(job.ending.stop_at, figures):
                trainer.finished_early = f"Reached {job.ending.stop_at} after step {step}: trained enough"
            history, patience = [*self._history.epochs(), figures], job.recipe.stop_rule()
            if patience and is_over(history, patience):
                trainer.finished_early = f"Ended early after step {step}: {_no_better(history, patience)}"

        watch = StepWatch(
            job.recipe.batch, queue.arrived_at, watching=job.watching, events=events, staged=devices.staged
        )
        self._means = RunningMeans(self._state.figures if self._state else {}, watch)
        callbacks = [watch, PlacementCheck(devices), RunUpdateOps()]
        if job.watching.trace:
            callbacks.append(TraceStep(job.folder, steps_left=job.recipe.total_steps - self.step))
        callbacks += self._learning.callbacks(network_variables)
        # Saved before it is validated: a run that ends in validation continues from here.
        callbacks.append(Saving(self, job.keeping, stop=self._stop, last_step=job.recipe.total_steps))
        if job.pictures.val is not None:
            names = devices.names if devices.on_gpu else devices.names[:1]
            validation = Validation(
                model.forward, job.pictures.val, devices=names, stop=self._stop, on_result=on_result
            )
            validation.averages = self._learning.averages
            callbacks.append(validation)
        rate = LearningRate(job.recipe, scale=self._rollbacks.rate_scale, history=self._history.epochs)
        return [*callbacks, self._means, MergeAllSummaries(), rate, ProgressBar()]

    def save(self, session, step):
        """Write a checkpoint of `step`."""
        epoch, position = divmod(step * self._job.recipe.batch, self._job.pictures.entries)
        state = State(step, self._job.start.seed, epoch, position, self._job.pictures.list_hash, self._means.state())
        self.writer.save(session, state)

    def _setup_graph(self):
        self.writer = CheckpointWriter(self._checkpoints, self._job.card, self._learning)

    def _run_init(self, session):
        """The run's own newest checkpoint, else the weights of --load, else what the initialisers gave."""
        start = self._job.start
        if self.step:
            self.writer.restore(session, self.step)
        elif start.load:
            weights = open_weights(start.load)
            match = load_into(session, network_variables(), weights, new_head=start.new_head)
            logger.info("Weights of %s: %s", weights.path, match.counts())

    def _log_start(self):
        recipe, state = self._job.recipe, self._state
        if state:
            logger.info(
                "Continuing after step %d of %d (pass %d over the list, entry %d of %d)",
                state.step,
                recipe.total_steps,
                state.epoch + 1,
                state.position,
                self._job.pictures.entries,
            )
        else:
            logger.info("New run in %s: %d epochs of %d steps", self._job.folder, recipe.epochs, recipe.steps_per_epoch)
        if self._rollbacks.rate_scale != 1:
            logger.warning(
                "The learning rate is %g of the recipe's since the run went back from a divergence",
                self._rollbacks.rate_scale,
            )


def _batch_norm_scope(job):
    """What surrounds a network's construction where its batch norm is not each tower's own; None where it is."""
    if job.recipe.frozen_statistics:
        return lambda: argscope(BatchNorm, training=False)
    if job.computing.sync_bn and job.computing.devices.count > 1:
        return lambda: synchronised_batch_norm(job.computing.devices)
    return None


def network_variables():
    """The variables of the first tower that make up the network: weights and batch norm's running statistics."""
    moments = [v for v in tfv1.global_variables() if is_batch_norm_moment(v.op.name)]
    own = {variable.op.name for variable in tfv1.global_variables()}  # other towers' are local variables
    return [v for v in tfv1.trainable_variables() if v.op.name in own] + moments


def _reached(rule, figures):
    found = with_accuracies(figures)
    return all(name in found for name in rule.targets) and rule.reached(found)


def _no_better(history, patience):
    found = standing(history, patience)
    return f"no epoch of the last {found.since} was better than epoch {found.best_epoch}"


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
