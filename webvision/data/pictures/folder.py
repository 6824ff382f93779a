"""Where pictures lie, and what is accepted as one: a folder of files."""

import dataclasses
import os

from webvision.data.pictures import images
from webvision.data.pictures.images import DEFAULT_POLICY, ImagePolicy


@dataclasses.dataclass(frozen=True)
class PictureFolder:
    """The files below `root`, read as `policy` allows."""

    root: str | bytes
    policy: ImagePolicy = DEFAULT_POLICY

    def path(self, name):
        """Of the file called `name` (bytes), as bytes."""
        return os.fsencode(self.root) + b"/" + name

    def inside(self):
        """The folders that links may lead to, as `images.read_bytes` wants them."""
        return images.data_folders(os.fsencode(self.root))

    def to_json(self):
        """As what json.dumps takes, for worker processes."""
        return {"root": os.fsdecode(self.root), "policy": dataclasses.asdict(self.policy)}

    @classmethod
    def from_json(cls, fields):
        """The PictureFolder that `to_json` described."""
        policy = {name: tuple(value) if isinstance(value, list) else value for name, value in fields["policy"].items()}
        return cls(fields["root"], ImagePolicy(**policy))
