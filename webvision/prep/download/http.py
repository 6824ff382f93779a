"""One HTTP request, carefully: redirects counted and never to a weaker scheme, proxies from the environment, passwords
kept out of every message, and every way a server can fail sorted into 'try again' and 'don't'."""

import base64
import email.utils
import re
import threading
import time
from typing import NamedTuple
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3

from webvision.prep.download import deadline

MAX_REDIRECTS = 5
RETRYABLE = {408, 425, 429, 500, 502, 503, 504}
USER_AGENT = "webvision-download/1"
_NUMBER = "[0-9]{1,18}"  # what a header may say in digits: int() of more is refused by Python, or by sense


class TransferError(Exception):
    """This attempt failed. `again`: the same address may work later; `gone`: this address has no such file; `wait`:
    seconds the server asked for, or None."""

    def __init__(self, message, *, again=True, gone=False, wait=None):
        super().__init__(redact(message))
        self.again, self.gone, self.wait = again, gone, wait


class Limits(NamedTuple):
    """When a connection counts as stalled, in seconds and bytes per second."""

    connect: float = 20
    read: float = 30  # without a single byte
    min_rate: float = 1000  # below this on average over `rate_window` a fresh connection is tried
    rate_window: float = 60
    phase: float = 60  # for connecting, and for all the headers of an answer
    unstated: int = 32 << 30  # bytes of a body whose length the server does not say; the largest archive has 10 GB


class Client:
    """Opens addresses through the proxies of the environment; safe to share between threads."""

    def __init__(self, limits=Limits(), *, environment_proxies=None):
        self.limits = limits
        self._proxies = getproxies() if environment_proxies is None else environment_proxies
        self._pools = {}
        self._lock = threading.Lock()

    def open(self, url, headers, *, method="GET"):
        """The response (unread) of `url` or of where it redirects to. TransferError for whatever is no 200, 206 or
        416."""
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        first_host = _split(url).hostname
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(method, url, headers, authorised=_split(url).hostname == first_host)
            if response.status not in (301, 302, 303, 307, 308):
                break
            location = response.headers.get("Location")
            response.close()
            if not location:
                raise TransferError(f"{url}: answers {response.status} without saying where to go", again=False)
            target = _joined(url, location)
            if urlsplit(target).scheme not in ("http", "https") or (urlsplit(url).scheme, urlsplit(target).scheme) == (
                "https",
                "http",
            ):
                raise TransferError(f"{url}: redirects to {target}, an unprotected address; refused", again=False)
            url = target
        else:
            raise TransferError(f"{url}: more than {MAX_REDIRECTS} redirects; a loop, or a login page?")
        if response.status in (200, 206, 416):
            return response
        response.close()
        reason = f"{url}: the server answers {response.status} {response.reason or ''}".rstrip()
        if response.status in RETRYABLE:
            raise TransferError(reason, wait=retry_after(response.headers.get("Retry-After")))
        raise TransferError(reason, again=False, gone=response.status in (404, 410))

    def _request(self, method, url, headers, *, authorised):
        parts = _split(url)
        if authorised and parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers = {**headers, "Authorization": "Basic " + base64.b64encode(pair).decode()}
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        try:
            return self._pool(parts).request(
                method,
                bare,
                headers=headers,
                preload_content=False,
                redirect=False,
                retries=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, ValueError) as error:  # ValueError: a host or port that is none
            raise TransferError(f"{url}: {explain(error)}") from None

    def _pool(self, parts):
        proxy = (
            None if proxy_bypass(parts.hostname or "") else self._proxies.get(parts.scheme) or self._proxies.get("all")
        )
        with self._lock:
            if proxy not in self._pools:
                settings = {
                    "timeout": urllib3.Timeout(connect=self.limits.connect, read=self.limits.read),
                    "maxsize": 16,
                }
                if proxy:
                    address = urlsplit(proxy if "//" in proxy else "http://" + proxy)
                    if address.username is not None:
                        pair = f"{unquote(address.username)}:{unquote(address.password or '')}"
                        settings["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=pair)
                    bare = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
                    self._pools[proxy] = urllib3.ProxyManager(bare, **settings)
                else:
                    self._pools[proxy] = urllib3.PoolManager(**settings)
                self._pools[proxy].pool_classes_by_scheme = deadline.pool_classes(self.limits.phase)
            return self._pools[proxy]


def _split(url):
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # what is wrong with them shows when they are asked for
        return parts
    except ValueError as error:
        raise TransferError(f"{url}: no address ({error})", again=False) from None


def _joined(url, location):
    try:
        target = urljoin(url, location)
    except ValueError as error:
        raise TransferError(f"{url}: redirects to {location}, which is no address ({error})", again=False) from None
    _split(target)
    return target


def pieces(response, url, limits, *, size=1 << 18):
    """Yield the body as it arrives; TransferError when it breaks off early, stalls or drips."""
    expected = stated_length(response)
    got, window_start, window_bytes = 0, time.monotonic(), 0
    while True:
        try:
            with deadline.within(limits.rate_window, lambda: getattr(response, "socket", None)):  # chunks' headers drip
                piece = response.read1(size)  # what is there, not all of `size`: a dripping server must not hold us
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransferError(f"{url}: {explain(error)} after {got:,} bytes") from None
        if not piece:
            break
        got += len(piece)
        if expected is None and got > limits.unstated:
            raise TransferError(f"{url}: over {limits.unstated:,} bytes, and no end was ever stated", again=False)
        yield piece
        window_bytes += len(piece)
        span = time.monotonic() - window_start
        if span > limits.rate_window:
            if window_bytes < limits.min_rate * span:
                raise TransferError(
                    f"{url}: only {window_bytes / span:.0f} bytes a second for {span:.0f} s; connecting anew"
                )
            window_start, window_bytes = time.monotonic(), 0
    if expected is not None and got != expected:
        raise TransferError(f"{url}: the connection closed after {got:,} of {expected:,} bytes")


def stated_length(response):
    """The Content-Length, or None if there is none or it is no number."""
    text = (response.headers.get("Content-Length") or "").strip()
    return int(text) if re.fullmatch(_NUMBER, text) else None


def retry_after(text):
    """Seconds from a Retry-After header (a number or a date), or None."""
    if not text:
        return None
    if re.fullmatch(_NUMBER, text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def content_range(response):
    """(first byte, total or None) of a 206 or 416 answer; (None, None) if the header is missing or nonsense."""
    match = re.fullmatch(
        rf"bytes (?:({_NUMBER})-{_NUMBER}|\*)/({_NUMBER}|\*)", (response.headers.get("Content-Range") or "").strip()
    )
    if not match:
        return None, None
    return (int(match[1]) if match[1] else None), (int(match[2]) if match[2] != "*" else None)


_IN_WORDS = {
    "NewConnectionError": "no connection",
    "ConnectTimeoutError": "no connection in time",
    "ReadTimeoutError": "no byte in time: stalled",
    "NameResolutionError": "the host's name is not known",
    "ProxyError": "the proxy does not let us through",
    "SSLError": "the server's certificate does not fit",
    "ProtocolError": "the connection broke",
    "IncompleteRead": "the connection broke",
    "ConnectionResetError": "the connection broke",
}


def explain(error):
    """An exception of the HTTP client in words for a person, with the system's own where it has any."""
    kind = type(error).__name__
    system = re.search(r"\[Errno -?\d+\] ([\w ]+)|CERTIFICATE_VERIFY_FAILED[^(]*", str(error))
    words = _IN_WORDS.get(kind, f"{kind}: {error}")
    return redact(f"{words} ({system[1] or system[0]})" if system and kind in _IN_WORDS else words)


def redact(text):
    """`text` without the user and password of an address, or what follows its '?': tokens live there."""
    text = re.sub(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/\s?#]*@", r"\1***@", str(text))
    return re.sub(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s?]*\?)[^\s'\")]*", r"\1***", text)
