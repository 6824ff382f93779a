#!/usr/bin/env python3
"""A page on this machine: drop a picture, see what a snapshot says of it and which region mattered."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "cv2")

import argparse  # noqa: E402

from webvision import cli  # noqa: E402
from webvision.errors import run_command  # noqa: E402


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="a run's folder, a checkpoint or an ONNX file")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; anyone who reaches another than the loopback's can ask (default: %(default)s)",
    )
    parser.add_argument("--port", type=cli.at_least(0), default=8000, help="0: a free one (default: %(default)s)")
    parser.add_argument("--top", type=cli.at_least(1), default=5, metavar="K", help="classes shown (default: 5)")
    parser.add_argument("--gpu", metavar="LIST", help="-1 for the CPU (default: what is there)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from webvision.commands.serving import page_server
    from webvision.devices import choose_gpus

    gpus = tuple(choose_gpus(args.gpu))[:1]
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus) or "-1"
    with page_server(args.snapshot, host=args.host, port=args.port, top=args.top, gpus=gpus) as server:
        host, port = server.server_address[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C ends it)", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    run_command(main)
