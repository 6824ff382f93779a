"""The archives of a split's folder: tar files in it, or addresses that its archives.txt names."""

import os
from concurrent.futures import ThreadPoolExecutor

from webvision.data.archives import members, remote

_ASKED_AT_ONCE = 16  # addresses


class ArchiveFolder:
    """`names` of the archives, sorted; none: the folder's pictures are loose, or it is not there."""

    def __init__(self, root, cache=None):
        """`cache`: a remote.Cache; the environment's, if there are addresses and none is given."""
        self.root = os.fsdecode(root)
        try:
            with os.scandir(self.root) as entries:
                self.names = sorted(
                    entry.name for entry in entries if entry.name.endswith(".tar") and entry.name[:1] != "."
                )
        except (FileNotFoundError, NotADirectoryError):
            self.names = []
        self._addresses = {} if self.names else remote.addresses(self.root)
        self.names = self.names or sorted(self._addresses)
        self.cache = cache or (remote.open_cache() if self._addresses else None)

    def facts(self):
        """The Facts of each archive, as the file system or the servers tell them now."""
        if not self._addresses:
            return [members.look_at(self.root, name) for name in self.names]
        with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
            return list(pool.map(lambda name: remote.look_at(name, self._addresses[name]), self.names))

    def path(self, facts, waiting=lambda: None):
        """Where the archive lies on this machine; one with an address is fetched first, and `waiting()` called
        meanwhile."""
        if not facts.is_remote:
            return os.path.join(self.root, facts.name)
        return remote.local_path(self._addresses[facts.name], facts, cache=self.cache, waiting=waiting)
