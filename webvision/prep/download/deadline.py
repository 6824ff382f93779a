"""A time limit for a whole phase of an exchange. A socket's own counts from byte to byte: a server that sends one each
0.3 s, or `100 Continue` for ever, never meets it."""

import contextlib
import socket
import threading
import time

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

_TICK_S = 0.2


class Limit:
    """One phase: when it must be over, and whose socket is shut down if it is not."""

    def __init__(self, sock, seconds):
        self.sock, self.expires, self.expired = sock, time.monotonic() + seconds, False

    def enforce(self):
        """Shut the socket down: whoever reads from it finds its end."""
        self.expired = True
        sock = self.sock()
        with contextlib.suppress(OSError, AttributeError):  # it has ended by itself, or was not there yet
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not TLS's own, which speaks to the other side first


class _Watch:
    """A thread that enforces limits, while there are any."""

    def __init__(self):
        self._limits, self._lock, self._running = set(), threading.Lock(), False

    def add(self, limit):
        with self._lock:
            self._limits.add(limit)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="deadlines", daemon=True).start()

    def remove(self, limit):
        with self._lock:
            self._limits.discard(limit)

    def _run(self):
        while True:
            time.sleep(_TICK_S)
            with self._lock:
                if not self._limits:
                    self._running = False
                    return
                late = [limit for limit in self._limits if time.monotonic() > limit.expires]
            for limit in late:
                limit.enforce()


_watch = _Watch()


@contextlib.contextmanager
def within(seconds, sock):
    """TimeoutError unless the block ends in time; `sock()` gives the socket that it may be waiting for."""
    limit = Limit(sock, seconds)
    _watch.add(limit)
    try:
        yield
    except Exception:
        if limit.expired:  # whatever the cut connection looked like to those who read from it
            raise TimeoutError(f"not over after {seconds:g} s") from None
        raise
    finally:
        _watch.remove(limit)


def _in_time(connection_class):
    class InTime(connection_class):
        """Connecting, with proxies and TLS, and the answer's headers each end within `phase_seconds`; `timeout` of the
        pool is between bytes."""

        phase_seconds = 60.0

        def connect(self):
            with within(self.phase_seconds, lambda: self.sock):
                super().connect()

        def getresponse(self):
            sock = self.sock
            with within(self.phase_seconds, lambda: sock):
                response = super().getresponse()
            response.socket = sock  # `connection` loses it where the server closes after the body
            return response

    return InTime


def pool_classes(phase_seconds):
    """What `PoolManager.pool_classes_by_scheme` should be for connections that keep to `phase_seconds`."""

    def pool(pool_class, connection_class):
        connection = type("Connection", (_in_time(connection_class),), {"phase_seconds": phase_seconds})
        return type("Pool", (pool_class,), {"ConnectionCls": connection})

    return {
        "http": pool(urllib3.HTTPConnectionPool, HTTPConnection),
        "https": pool(urllib3.HTTPSConnectionPool, HTTPSConnection),
    }
