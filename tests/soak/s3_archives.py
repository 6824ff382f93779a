"""Archives in object storage, against moto's S3 server on loopback: same bytes, credentials, a changed object, one that
is not there. Needs a Python with boto3 and moto[server] beside NumPy, OpenCV and simplejpeg:

    python3.11 -m venv s3
    s3/bin/pip install numpy opencv-python-headless simplejpeg boto3==1.44.8 "moto[server]==5.2.5"
    s3/bin/python tests/soak/s3_archives.py
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

import boto3  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

from tests.support.archive_fixtures import put_into_archives  # noqa: E402
from tests.support.loader_fixtures import CLASSES, make_tree, take  # noqa: E402
from webvision.data.archives import remote  # noqa: E402
from webvision.data.data_set import DataSet  # noqa: E402
from webvision.data.loader.batches import TrainBatches  # noqa: E402
from webvision.data.loader.spec import BatchSpec  # noqa: E402
from webvision.data.views.augment import Augmentation  # noqa: E402
from webvision.errors import DataError, UsageError  # noqa: E402


def batches_of(root, workers):
    split = DataSet.open(str(root)).split("train")
    batches = TrainBatches(split, split.order(seed=3), BatchSpec(Augmentation(image_size=32), 8), workers=workers)
    try:
        return take(batches, 8)[1]
    finally:
        batches.close()


def refused(error, text, action):
    try:
        action()
    except error as found:
        assert text in str(found), found
        print(f"refused as it should be: {found}")
        return
    raise AssertionError(f"not refused: {text}")


def main():
    work = Path(tempfile.mkdtemp(prefix="s3-archives-"))
    root = make_tree(work / "set", 30)
    (root / "meta" / "synsets.txt").write_text("".join(f"c{label}\n" for label in range(CLASSES)))
    put_into_archives(root, "train")
    right = batches_of(root, 0)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        remote.VARIABLE: f"{work / 'cache'}:1G",
    }
    away = work / "away"
    shutil.copytree(root / "meta", away / "meta", ignore=shutil.ignore_patterns(".*"))
    (away / "train").mkdir()
    names = sorted(path.name for path in (root / "train").glob("*.tar"))
    (away / "train" / "archives.txt").write_text("".join(f"s3://pictures/some/{name}\n" for name in names))
    os.environ["HOME"] = str(work)
    refused(UsageError, "no credentials", lambda: batches_of(away, 0))
    remote._clients.clear()
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="pictures")
    refused(DataError, "the server answers 404", lambda: batches_of(away, 0))
    for name in names:
        s3.upload_file(str(root / "train" / name), "pictures", f"some/{name}")
    for workers in (0, 2):
        assert batches_of(away, workers) == right, workers
    split = DataSet.open(str(away)).split("train")
    data = (root / "train" / names[0]).read_bytes()
    s3.put_object(Bucket="pictures", Key=f"some/{names[0]}", Body=data[:-512] + b"\1" * 512)
    shutil.rmtree(work / "cache")
    pictures = [name.encode() for name in split.index.names(range(30))]
    refused(DataError, "this archive changed while it was in use", lambda: [*map(split.pictures.read, pictures)])
    assert len(DataSet.open(str(away)).split("train").pictures.members) == 30
    server.stop()
    shutil.rmtree(work)
    print("object storage: the bytes of local archives")


if __name__ == "__main__":
    main()
