"""A page on this machine: drop a picture, see what a snapshot says of it and which region mattered."""

import argparse

from webvision.commands import flags


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="a run's folder, a checkpoint or an ONNX file")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; anyone who reaches another than the loopback's can ask (default: %(default)s)",
    )
    parser.add_argument("--port", type=port, default=8000, metavar="N", help="0: a free one (default: %(default)s)")
    parser.add_argument("--top", type=flags.at_least(1), default=5, metavar="K", help="classes shown (default: 5)")
    parser.add_argument("--gpu", metavar="LIST", help="-1 for the CPU (default: what is there)")
    return parser


def port(text):
    """An argparse type: 0 to 65535."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is no port: 0 to 65535")
    return int(text)


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    from webvision.commands.serving import page_server
    from webvision.devices import choose_gpus

    gpus = tuple(choose_gpus(args.gpu))[:1]
    flags.show_only(gpus)
    with page_server(args.snapshot, host=args.host, port=args.port, top=args.top, gpus=gpus) as server:
        host, port = server.server_address[:2]
        print(f"http://{f'[{host}]' if ':' in host else host}:{port}/  (Ctrl-C ends it)", flush=True)
        server.serve_forever()
