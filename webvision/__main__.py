"""The front door: `webvision COMMAND`, or `python3 -m webvision COMMAND` in a checkout; a file each in commands/.

Nothing but `os` and `sys` is imported before the command's environment is settled; see environment.py.
"""

import os
import sys

VERSION = "0.2.0"  # pyproject.toml's; a test compares them
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from webvision.environment import import_only_code, use_project_environment  # noqa: E402


class Command:
    """One line of the list: where it is, what it cannot do without, and what it does."""

    def __init__(self, module, needs, about):
        self.module = module  # of webvision.commands
        self.needs = needs  # modules that its Python must have
        self.about = about


PIXELS, TRAINING = ("numpy", "cv2"), ("tensorflow", "tensorpack", "cv2")
ROAD = {  # in the order in which one needs them
    "demo": Command("demo", (*PIXELS, "tensorflow"), "the whole road on a small set that it draws itself"),
    "doctor": Command("doctor", PIXELS, "is this machine ready? versions, GPUs, memory, limits"),
    "download": Command("download", ("numpy", "urllib3"), "fetch a public set, prove it whole, unpack and arrange it"),
    "prepare": Command("prepare", ("numpy",), "arrange an unpacked set: train/, val/, test/ and meta/ with lists"),
    "check": Command("check", PIXELS, "is my data right? lists, files, pictures, copies; can write cleaned lists"),
    "shrink": Command("shrink", PIXELS, "rewrite the pictures once at short side 256: a third of the reading"),
    "pack": Command("pack", PIXELS, "put the pictures into few large archives, WebDataset's shards"),
    "unpack": Command("unpack", PIXELS, "the way back: each listed picture of a set in archives becomes a file"),
    "upsample": Command("upsample", ("numpy",), "write the class-balanced list that training walks"),
    "speed": Command("speed", PIXELS, "why is my GPU idle? times reading, decoding and hand-over"),
    "plan": Command("plan", ("numpy",), "what a training needs at a size: cores, disk, network, hours"),
    "step": Command("step", TRAINING, "time the training step alone, on made-up pictures"),
    "train": Command(
        "train", TRAINING, "train a network, also from a plain folder: train PICTURES; continues when repeated"
    ),
    "eval": Command("evaluate", TRAINING, "predict a list with a checkpoint and write the prediction file"),
    "predict": Command("predict", PIXELS, "what is on these pictures? a picture, a folder, a list; JSON and tables"),
    "judge": Command("judge", PIXELS, "how good is a model? its figures over a folder of class folders"),
    "export": Command("export", TRAINING, "ONNX, TFLite, SavedModel, int8: each proven against its original"),
    "serve": Command("serve", PIXELS, "a page on this machine that says what is on a picture"),
    "score": Command("score", ("numpy",), "errors of prediction files, compared, averaged, merged"),
    "report": Command("report", PIXELS, "one HTML page: what the network gets wrong, and where to look"),
    "label-errors": Command("label_errors", ("numpy",), "which training labels are probably wrong? lists, weights"),
    "submit": Command("submit", ("numpy",), "a prediction file becomes a checked CodaLab submission"),
}
OTHERS = {  # under names that others gave them, or parts of one above
    "demo-own": Command(
        "demo_own", (*PIXELS, "tensorflow"), "from a folder of pictures to a checked model, on a small set"
    ),
    "demo-data": Command("demo_data", PIXELS, "draw the demo's data set"),
    "objectnet-eval": Command("objectnet_eval", PIXELS, "ObjectNet's evaluation of a folder of images"),
    "objectnet-validate": Command("objectnet_validate", (), "ObjectNet's verdict on a predictions.csv"),
    "sotabench": Command("sotabench", PIXELS, "sotabench's evaluation of ILSVRC's validation images"),
    "train-pictures": Command("train_pictures", TRAINING, "what train PICTURES does, with Kneron's flags"),
    "card": Command("card", TRAINING, "imagenet-resnet.py: train, eval and step behind one set of flags"),
    "completion": Command("completion", (), "print the completion of this command for a shell"),
}
COMMANDS = {**ROAD, **OTHERS}


def run(name, arguments=None, *, program=None):
    """Run the command called `name` as this process, and exit with its code. `program`: what it calls itself."""
    command = COMMANDS[name]
    use_project_environment(*command.needs)
    import importlib

    from webvision.errors import run_command

    arguments = sys.argv[1:] if arguments is None else arguments
    sys.argv[0] = program or sys.argv[0]
    # Before its module is imported, so that a library which does not load is an error of one line too.
    run_command(lambda: importlib.import_module(f"webvision.commands.{command.module}").main(arguments))


def overview():
    """The commands, a line each, as `webvision` without one prints them."""
    width = max(map(len, ROAD))
    lines = [f"  {name:<{width}}  {command.about}" for name, command in ROAD.items()]
    return "\n".join(
        ["usage: webvision COMMAND ...", "", "In the order of the road:", "", *lines, ""]
        + ["webvision COMMAND --help tells each one's flags; webvision completion bash|zsh completes them."]
    )


def main():
    """The console script."""
    import_only_code()
    from webvision.errors import run_command

    run_command(lambda: choose(sys.argv[1:] or ["--help"]))


def choose(words):
    """Do what `webvision WORDS` asks for; returns the exit code of what is no command."""
    name, *arguments = words
    if name in ("-h", "--help"):
        print(overview())
        return 0
    if name in ("-V", "--version"):
        print("webvision", VERSION)
        return 0
    if name not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f"; did you mean `webvision {near[0]}`?" if near else "; `webvision` alone lists them"
        print(f"webvision: error: there is no command {name!r}{meant}", file=sys.stderr)
        return 2
    return run(name, arguments, program=f"webvision {name}")


if __name__ == "__main__":
    main()
