"""Evaluate a model on ILSVRC 2012's validation images as sotabench does; its server runs sotabench.py without flags.

The result goes where SOTABENCH_STORE_FILENAME says, in sotabench's format, and to stdout.
"""

from webvision.commands import flags
from webvision.devices import cpu_cores, installed_gpus
from webvision.errors import UsageError


def make_parser():
    parser = flags.CommandParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add(
        "--data",
        default=".",
        metavar="DIR",
        help="ILSVRC2012_img_val.tar or val/, and the devkit archive or val.txt (default: this folder)",
    )
    add("--labels", metavar="FILE", help="the devkit archive or a text list of labels, if not in DIR")
    add("--model", required=True, help="a network of this project, or a Python file with logits(images) and PRESET")
    add("--checkpoint", required=True, metavar="PATH", help="its weights: a checkpoint or a run's folder")
    add("--model-name", required=True, metavar="NAME", help="as in the result")
    add("--paper-arxiv-id", metavar="ID", help="of the paper that describes it")
    add("--batch", type=int, default=128, metavar="N", help="images a batch (default: %(default)s)")
    add("--workers", type=int, default=cpu_cores(), metavar="N", help="decoding threads (default: %(default)s)")
    add("--gpus", type=int, default=installed_gpus(), metavar="N", help="0: the CPU (default: %(default)s)")
    add("--cache", metavar="DIR", help="keep results here, and use them when the model has not changed")
    add(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="unreadable images that are still fine (default: %(default)s)",
    )
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.batch < 1 or args.workers < 1:
        raise UsageError("--batch and --workers must be at least 1")
    flags.show_first(args.gpus)
    return args


def main(argv=None):
    args = parse_args(argv)
    import json

    from webvision.challenges.sotabench import evaluate, result_cache
    from webvision.challenges.sotabench.evaluator import ImageNetEvaluator
    from webvision.inference import own_model

    evaluator = ImageNetEvaluator(
        args.data, args.model_name, args.paper_arxiv_id, labels=args.labels, cache_dir=args.cache
    )
    files = evaluate.open_images(evaluator.root)
    model = own_model.find_model(args.model, args.checkpoint, preset="sotabench")
    if evaluator.has_cache:
        evaluator.identity = result_cache.identity_of(
            model.contents_sha256(args.checkpoint), repr(model.preset), evaluate.open_images(evaluator.root)
        )
    with model.open(args.checkpoint, gpus=args.gpus) as predict:
        evaluator.reset_time()
        bad = evaluate.evaluate(evaluator, files, predict, preset=model.preset, batch=args.batch, workers=args.workers)
        if bad:
            evaluator.identity = None  # not kept: the next time they may be readable
        print(json.dumps(evaluator.save().to_dict(), ensure_ascii=False))
    evaluate.check_bad(bad, len(evaluator.targets), args.max_bad)
