"""A file that is being fetched, as it lies on the disk: its bytes, and what the server said about them."""

import json
import os

from webvision.files import write_json
from webvision.prep.download.unpack import boot_id


class Part:
    """The begun file and its state: {url, size, etag, modified} as the server stated them, `synced` bytes safely on the
    disk since the start `boot` of the machine. Lost or torn, the state costs a new start, never a wrong file."""

    def __init__(self, path):
        self.path, self.state_path = path, path + ".state.json"
        self.state = self._read_state()
        if os.path.exists(path):
            self._distrust_after_a_reboot()
        else:
            self.state = {}

    def size(self):
        return os.path.getsize(self.path) if os.path.exists(self.path) else 0

    def total(self):
        return self.state.get("size")

    def restart(self):
        """Forget everything that was fetched."""
        self.state = {}
        with open(self.path, "wb"):
            pass

    def remember(self, fd):
        """Bring the file's bytes to the disk, then note how many are safe."""
        os.fdatasync(fd)
        self.state.update(synced=os.fstat(fd).st_size, boot=boot_id())
        write_json(self.state_path, self.state)

    def _read_state(self):
        try:
            with open(self.state_path, encoding="utf-8") as file:
                state = json.load(file)
            numbers = state.get("size") is None or isinstance(state["size"], int)
            return (
                state if numbers and isinstance(state.get("synced"), int) and isinstance(state.get("url"), str) else {}
            )
        except (FileNotFoundError, ValueError, AttributeError):
            return {}

    def _distrust_after_a_reboot(self):
        safe = self.state.get("synced", 0)
        if self.state.get("boot") != boot_id() and self.size() > safe:
            os.truncate(self.path, safe)
