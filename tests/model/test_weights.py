"""Loading weights: all or nothing, by name and shape, and no format that can carry code."""

import io
import os
import pickle
import zipfile

import numpy as np
import pytest

from webvision.compat import tf, tfv1
from webvision.errors import CheckpointError
from webvision.model.weights import load_into, open_weights

SHAPES = {"conv0/W": (2, 2, 3, 4), "conv0/bn/mean/EMA": (4,), "linear/W": (4, 3), "linear/b": (3,)}


def arrays(**changed):
    return {**{name: np.full(shape, i + 1, "f") for i, (name, shape) in enumerate(SHAPES.items())}, **changed}


def write_npz(path, values):
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in values.items():
            with archive.open(name + ".npy", "w") as member:
                np.lib.format.write_array(member, value)
    return path


def load(path, **options):
    with tf.Graph().as_default():
        variables = [
            tfv1.get_variable(name, shape, initializer=tf.zeros_initializer()) for name, shape in SHAPES.items()
        ]
        with tfv1.Session() as session:
            session.run(tfv1.global_variables_initializer())
            fit = load_into(session, variables, open_weights(path), **options)
            return fit, dict(zip(SHAPES, session.run(variables)))


def save_tensorflow(folder, values):
    with tf.Graph().as_default(), tfv1.Session() as session:
        variables = [tfv1.get_variable(name, initializer=value) for name, value in values.items()]
        session.run(tfv1.global_variables_initializer())
        return tfv1.train.Saver(variables).save(
            session, os.path.join(folder, "model"), global_step=7, write_meta_graph=False
        )


def test_both_formats_load_every_variable(tmp_path):
    with_bookkeeping = arrays(
        **{
            "global_step": np.int64(7),
            "linear/W/Momentum": np.zeros((4, 3), "f"),
            "EMA/cost": np.float32(1),
            "learning_rate": np.float32(0.1),
        }
    )
    prefix = save_tensorflow(tmp_path, with_bookkeeping)
    npz = write_npz(tmp_path / "weights.npz", {name + ":0": value for name, value in with_bookkeeping.items()})
    for path in (prefix, prefix + ".index", prefix + ".data-00000-of-00001", tmp_path, npz):
        fit, values = load(path)
        assert fit.counts() == "4 loaded, 0 missing, 0 unexpected, 0 mismatched"
        for name, value in arrays().items():
            np.testing.assert_array_equal(values[name], value)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"linear/b": None}, ["3 loaded, 1 missing", "missing linear/b"]),
        ({"conv9/W": np.ones((1,), "f")}, ["4 loaded, 0 missing, 1 unexpected", "unexpected conv9/W"]),
        (
            {"conv0/W": np.ones((2, 2, 4, 3), "f")},
            ["1 mismatched", "(2, 2, 4, 3) in the file and (2, 2, 3, 4) in the network"],
        ),
        ({"linear/W": np.ones((4, 9), "f"), "linear/b": np.ones((9,), "f")}, ["2 mismatched", "--finetune"]),
        ({"linear/b": np.array([1, np.nan, 1], "f")}, ["1 variables hold NaN", "linear/b"]),
    ],
)
def test_what_does_not_fit_is_refused_and_counted(tmp_path, change, words):
    values = {name: value for name, value in arrays(**change).items() if value is not None}
    with pytest.raises(CheckpointError) as refusal:
        load(write_npz(tmp_path / "w.npz", values))
    for word in words:
        assert word in str(refusal.value)


def test_finetuning_keeps_all_but_a_differing_head(tmp_path):
    changed = {"linear/W": np.ones((4, 9), "f"), "linear/b": np.ones((9,), "f")}
    fit, values = load(write_npz(tmp_path / "w.npz", arrays(**changed)), new_head=True)
    assert len(fit.loaded) == 2 and values["conv0/W"].max() == 1 and values["linear/W"].max() == 0
    with pytest.raises(CheckpointError, match="conv0/W"):
        load(write_npz(tmp_path / "v.npz", arrays(**changed, **{"conv0/W": np.ones((5,), "f")})), new_head=True)


class Trap:
    def __reduce__(self):
        return (os.mkdir, ("/tmp/a-pickle-was-loaded",))


def object_npz():
    buffer = io.BytesIO()
    np.savez(buffer, **{"conv0/W": np.array([Trap()], object)}, allow_pickle=True)
    return buffer.getvalue()


def npz_with_header(header, body=b""):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        padded = header.ljust(117).encode() + b"\n"
        archive.writestr("conv0/W.npy", b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body)
    return buffer.getvalue()


def zip_with(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content, words",
    [
        (pickle.dumps({"conv0/W": Trap()}), "pickle"),
        (object_npz(), "Python objects"),
        (
            npz_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"),
            "more than its bytes hold",
        ),
        (zip_with("archive/data.pkl"), "archive/data.pkl"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 50, "HDF5"),
        (b"\n\x06\x08\x01" + b"\0" * 50, "saved graph"),
        (b"\x93NUMPY\x01\x00", "single NumPy array"),
        (b"", "empty"),
        (b"PK\x03\x04" + b"\0" * 30, "damaged"),
        (b"<html>not found</html>", "not known"),
    ],
)
def test_other_formats_are_refused_by_content(tmp_path, content, words):  # Z4
    path = tmp_path / "model-1"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=words):
        load(path)
    assert not os.path.exists("/tmp/a-pickle-was-loaded")


def test_a_variable_twice_in_an_npz_is_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, pytest.warns(UserWarning):
        for _ in range(2):
            with archive.open("linear/b.npy", "w") as member:
                np.lib.format.write_array(member, np.ones(3, "f"))
    (tmp_path / "w.npz").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="twice"):
        open_weights(tmp_path / "w.npz")


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap"])
def test_a_damaged_tensorflow_checkpoint_is_refused(tmp_path, damage):
    prefix = save_tensorflow(tmp_path, arrays())
    data = prefix + ".data-00000-of-00001"
    content = bytearray(open(data, "rb").read())
    if damage == "truncate":
        content = content[: len(content) // 2]
    elif damage == "flip":
        content[len(content) // 2] ^= 0x40
    else:
        other = tmp_path / "other"
        other.mkdir()
        content = open(
            save_tensorflow(other, arrays(**{"conv0/W": np.full((2, 2, 3, 4), 9, "f")})) + ".data-00000-of-00001", "rb"
        ).read()
    with open(data, "wb") as file:
        file.write(content)
    with pytest.raises(CheckpointError, match="damaged|not a readable"):
        load(prefix)


def test_a_missing_checkpoint_names_its_neighbours(tmp_path):
    save_tensorflow(tmp_path, arrays())
    with pytest.raises(CheckpointError, match="model-8: no such checkpoint.*there are: model-7"):
        open_weights(tmp_path / "model-8")


def test_a_checkpoint_that_is_pruned_while_it_is_read_is_read_or_refused_whole(tmp_path):  # C6
    prefix = save_tensorflow(tmp_path, arrays())
    with tf.Graph().as_default():
        variables = [
            tfv1.get_variable(name, shape, initializer=tf.zeros_initializer()) for name, shape in SHAPES.items()
        ]
        with tfv1.Session() as session:
            session.run(tfv1.global_variables_initializer())
            weights = open_weights(prefix)
            for name in os.listdir(tmp_path):
                os.unlink(tmp_path / name)
            try:
                load_into(session, variables, weights)
                expected = list(arrays().values())
            except CheckpointError as error:
                assert "use another checkpoint" in str(error)
                expected = [np.zeros(shape) for shape in SHAPES.values()]
            for value, wanted in zip(session.run(variables), expected, strict=True):
                np.testing.assert_array_equal(value, wanted)
