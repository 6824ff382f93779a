"""Checkpoints that can be trusted: a manifest written last ties every file of one to its step and its data position.

A checkpoint is `model-STEP.index` and `model-STEP.data-*` (TensorFlow's saver, all global variables), with some recipes
`model-STEP.margins.npz`, and `model-STEP.json`, the manifest. While one is written, and while one is deleted,
`model-STEP.unfinished` lies beside it: the next start sweeps what has that mark and no manifest. Weights with neither
were not left so by this program, may be all that somebody has, and are never deleted.
"""

import contextlib
import os
import re
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from webvision import faults
from webvision.compat import tf, tfv1
from webvision.errors import CheckpointError, DivergedError, ResourceError, printable, short_reason
from webvision.files import atomic_write, file_sha256, read_json, remove_leftovers, sync_directory, write_json
from webvision.model.card import VARIABLE
from webvision.training.state.files import parse_best, parse_manifest, read_state

from tensorflow.python.training import saver
from tensorpack.utils import logger

_WEIGHTS = r"model-(\d+)\.(?:index|data-\d+-of-\d+|margins\.npz)"
SHOWN = 5


@dataclass(frozen=True)
class State:
    """Where a run stands: the position in the data and in the schedule that belong to one set of weights."""

    step: int
    seed: int
    epoch: int  # of the data order: how many times the whole (balanced) list has been through
    position: int  # entries of that order already trained on
    list_hash: str
    figures: dict = field(default_factory=dict)  # RunningMeans.state()


class CheckpointFolder:
    """The checkpoints of one run folder: which are whole, which is the newest, which may go."""

    def __init__(self, path, *, keep, keep_every=None):
        """Beside the last `keep` and the best, those of every `keep_every` steps stay."""
        self.path = path
        self._keep = keep
        self._keep_every = keep_every
        self._best = None  # as of the last look: nobody else writes it while this run has the folder

    def prefix(self, step):
        return os.path.join(self.path, f"model-{step}")

    def steps(self):
        """Steps with a manifest, ascending."""
        return sorted(self._steps_of(r"model-(\d+)\.json"))

    def sweep(self):
        """Remove what a killed save or deletion left: marked weights without a manifest, and temporary files."""
        finished, marked = set(self.steps()), self._steps_of(r"model-(\d+)\.unfinished")
        remove_leftovers(self.path)
        for name in os.listdir(self.path):
            if re.search(r"\.tempstate\d+$", name):
                os.unlink(os.path.join(self.path, name))
                logger.info("Removed %s, which a save that did not end left behind", name)
        for step in marked - finished:
            logger.info("Removed model-%d, which was not written, or not deleted, to its end", step)
            self._remove_weights(step)
        for step in marked:
            os.unlink(self._mark(step))

    def refuse_unknown(self):
        """CheckpointError if there are weights that no manifest vouches for, and training on would write over them."""
        finished = self.steps()
        unknown = sorted(self._steps_of(_WEIGHTS).difference(finished))
        if not unknown:
            return
        names = ", ".join(f"model-{step}" for step in unknown[-SHOWN:])
        if not finished or unknown[-1] > finished[-1]:
            raise CheckpointError(
                f"{printable(self.path)}: {len(unknown)} checkpoints have no manifest ({names} with no .json), and "
                "this program did not leave them so; nothing was deleted. Put the model-STEP.json back, or begin a new "
                f"run from one with --fresh --load {printable(self.prefix(unknown[-1]))}, or move them elsewhere"
            )
        logger.warning("%s without a manifest: left alone, and neither counted nor continued from", names)

    def _steps_of(self, pattern):
        found = (re.fullmatch(pattern, name) for name in os.listdir(self.path))
        return {int(match[1]) for match in found if match}

    def _mark(self, step):
        return self.prefix(step) + ".unfinished"

    def begin(self, step):
        """Mark the checkpoint of `step` as one that is being written; what it was before no longer counts."""
        os.makedirs(self.path, exist_ok=True)
        os.close(os.open(self._mark(step), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.prefix(step) + ".json", self._mark(step))
        sync_directory(self.path)

    def newest_whole(self):
        """The State of the newest checkpoint whose every byte is as saved; None in a new folder.

        A damaged one is named and passed over. CheckpointError if there are some and all are damaged: a run never
        silently starts anew.
        """
        steps = self.steps()
        for step in reversed(steps):
            problem = self._damage(step)
            if problem is None:
                state = self._manifest(step)[0]
                return State(**{part.name: state[part.name] for part in fields(State) if part.name in state})
            logger.error("Checkpoint model-%d is damaged (%s); going back to the one before it", step, problem)
        if steps:
            raise CheckpointError(
                f"{printable(self.path)}: all {len(steps)} checkpoints are damaged; restore them from "
                "a copy, or start a new run beside this one with --fresh"
            )
        return None

    def _manifest(self, step):
        return parse_manifest(read_json(self.prefix(step) + ".json"), step)

    def _damage(self, step):
        try:
            for name, (size, sha256) in self._manifest(step)[1].items():
                path = os.path.join(self.path, name)
                if os.path.getsize(path) != size:
                    return f"{name} has {os.path.getsize(path)} bytes, {size} were written"
                if file_sha256(path) != sha256:
                    return f"{name} has other content than was written"
        except (OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"
        return None

    def seal(self, state):
        """Declare the files of `state.step`, which are on disk now, a checkpoint; then drop the surplus."""
        faults.point("save-data")
        names = sorted(self._weights_of(state.step))
        for name in names:
            with open(os.path.join(self.path, name), "rb") as file:
                os.fsync(file.fileno())
        files = {
            name: {
                "bytes": os.path.getsize(os.path.join(self.path, name)),
                "sha256": file_sha256(os.path.join(self.path, name)),
            }
            for name in names
        }
        write_json(self.prefix(state.step) + ".json", {"state": asdict(state), "files": files})
        faults.point("save-manifest")
        os.unlink(self._mark(state.step))
        with atomic_write(os.path.join(self.path, "checkpoint")) as file:  # what TensorFlow's own tools look for
            file.write(
                f'model_checkpoint_path: "model-{state.step}"\nall_model_checkpoint_paths: "model-{state.step}"\n'
            )
        faults.point("save-pointer")
        self.prune(self._keep)

    def prune(self, keep):
        """Delete all but the last `keep`, the best and the milestones; a manifest goes first: nothing half-deleted
        counts."""
        best = self.best()
        for step in self.steps()[:-keep]:
            if (best is None or step != best["step"]) and (self._keep_every is None or step % self._keep_every):
                self.drop(step)
        sync_directory(self.path)

    def drop(self, step):
        os.rename(self.prefix(step) + ".json", self._mark(step))
        faults.point("prune")
        self._remove_weights(step)
        os.unlink(self._mark(step))

    def _remove_weights(self, step):
        for name in self._weights_of(step):
            os.unlink(os.path.join(self.path, name))

    def _weights_of(self, step):
        matches = (re.fullmatch(_WEIGHTS, name) for name in os.listdir(self.path))
        return [match[0] for match in matches if match and int(match[1]) == step]

    def best(self):
        """{'step', 'error'} of the best checkpoint so far, or None; CheckpointError if best.json is damaged, since the
        best would be dropped as any other."""
        if self._best is None:
            self._best = read_state(
                os.path.join(self.path, "best.json"),
                parse_best,
                'it holds {"step": ..., "error": ...} of the best checkpoint; repair it, or remove it, and the best is '
                "looked for anew",
            )
        return self._best

    def note_error(self, step, error):
        """Remember the checkpoint of `step` as the best if its validation `error` is the lowest so far."""
        best = self.best()
        if (best is None or error < best["error"]) and os.path.exists(self.prefix(step) + ".json"):
            self._best = {"step": step, "error": error}
            try:
                write_json(os.path.join(self.path, "best.json"), self._best)
            except OSError as reason:
                logger.error(
                    "best.json cannot be written (%s): step %d may be dropped though it is the best so far",
                    reason,
                    step,
                )


class _Constant(saver.BaseSaverBuilder.SaveableObject):
    """A tensor that is saved under a name, and never restored."""

    def __init__(self, tensor, name):
        spec = saver.BaseSaverBuilder.SaveSpec(tensor, "", name, dtype=tensor.dtype, device=tensor.device)
        super().__init__(tensor, [spec], name)

    def restore(self, restored_tensors, restored_shapes):
        return tf.no_op()


class CheckpointWriter:
    """Saves a session's global variables, and the card that says what they mean, into a CheckpointFolder; refuses to
    save what is not finite."""

    def __init__(self, folder, card, beside):
        """`beside` writes and reads what belongs to a checkpoint and is not in the graph."""
        self._folder = folder
        self._beside = beside
        variables = tfv1.global_variables()
        with tf.name_scope("checkpoint"), tf.device("/cpu:0"):
            text = tf.constant(np.frombuffer(card.to_bytes(), np.uint8), name="card")
        self._saver = tfv1.train.Saver([*variables, _Constant(text, VARIABLE)], max_to_keep=None)
        self._restorer = tfv1.train.Saver(variables)  # checkpoints of before the card have none
        floats = [v for v in variables if v.dtype.base_dtype.is_floating]
        with tf.name_scope("checkpoint"):
            self._finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(v)) for v in floats])
        self._last_step = None

    def restore(self, session, step):
        self._restorer.restore(session, self._folder.prefix(step))
        self._beside.restore_beside(self._folder.prefix(step))
        self._last_step = step

    def save(self, session, state):
        """Save `state` unless it is saved already. ResourceError if the disk does not take it, even after a retry."""
        if state.step == self._last_step:
            return
        if not session.run(self._finite):
            raise DivergedError(
                f"step {state.step}: a weight is NaN or infinite; not saved. The last finite checkpoint is "
                f"kept in {self._folder.path}; go on from it with a lower --lr",
                step=state.step,
            )
        try:
            self._write(session, state)
        except (OSError, tf.errors.OpError) as first:
            logger.error(
                "Saving step %d failed: %s. Dropping surplus checkpoints and trying again",
                state.step,
                short_reason(first),
            )
            try:
                self._folder.sweep()
                self._folder.prune(1)
                self._write(session, state)
            except (OSError, tf.errors.OpError) as second:
                raise ResourceError(
                    f"{self._folder.path}: the state of step {state.step} cannot be saved: {short_reason(second)}; "
                    "free space or permissions there, then give the same command again"
                ) from None
        self._last_step = state.step

    def _write(self, session, state):
        faults.point("save")
        self._folder.begin(state.step)
        self._saver.save(session, self._folder.prefix(state.step), write_meta_graph=False, write_state=False)
        self._beside.save_beside(self._folder.prefix(state.step))
        self._folder.seal(state)
