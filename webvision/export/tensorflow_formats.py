"""SavedModel and TFLite, by TensorFlow's own writers; and how they are run."""

import numpy as np

from webvision.compat import native_stderr_held_back, tf, tfv1
from webvision.devices import cpu_cores
from webvision.export.graph import INPUT, LOGITS


def write_savedmodel(frozen, folder):
    """A SavedModel in `folder` (new): signature serving_default, float32 `input` to `logits`."""
    with frozen.graph.as_default(), frozen.session() as session:
        tfv1.saved_model.simple_save(session, folder, inputs={INPUT: frozen.input}, outputs={LOGITS: frozen.logits})


def tflite_model(frozen, *, pictures=None):
    """The bytes of a TFLite model: float32, or int8 within (float32 at both ends) where normalised `pictures` are given
    to measure ranges from."""
    with frozen.graph.as_default(), frozen.session() as session:
        converter = tfv1.lite.TFLiteConverter.from_session(session, [frozen.input], [frozen.logits])
        if pictures is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with native_stderr_held_back():  # the converter announces its phases there, past every logger
            return converter.convert()


def savedmodel_runner(folder):
    """A SavedModel as a function from normalised pictures to logits."""
    graph = tf.Graph()
    session = tfv1.Session(graph=graph)
    with graph.as_default():
        meta = tfv1.saved_model.load(session, [tf.saved_model.SERVING], folder)
    signature = meta.signature_def["serving_default"]
    source, answer = signature.inputs[INPUT].name, signature.outputs[LOGITS].name
    return lambda images: session.run(answer, {source: images})


def tflite_runner(model):
    """The bytes of a TFLite model as a function from normalised pictures to logits, one picture at a time."""
    with native_stderr_held_back():
        interpreter = tf.lite.Interpreter(model_content=model, num_threads=cpu_cores())
        interpreter.allocate_tensors()
    source, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(images):
        answers = []
        for image in images:
            interpreter.set_tensor(source, image[None])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(answer)[0])
        return np.stack(answers)

    return run
