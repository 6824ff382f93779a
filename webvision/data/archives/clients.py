"""Who fetches an archive from its address: plain HTTP, or object storage. Both say what it is, and give bytes from a
place on."""

from urllib.parse import urlsplit

from webvision.errors import DataError, UsageError, printable

_PIECE = 1 << 18
_RETRYABLE = {408, 425, 429, 500, 502, 503, 504}


class Again(Exception):
    """This attempt failed; another may not."""


def shown(address):
    """`address` without what may be secret in it: a password, a signature."""
    parts = urlsplit(address)
    return printable(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl())


class Http:
    """Archives by plain HTTP: HEAD, and GET with a range."""

    def __init__(self):
        import urllib3

        self._errors = urllib3.exceptions.HTTPError
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=20, read=30), retries=False)

    def head(self, address):
        """(size, ETag or date)."""
        response = self._request("HEAD", address, {})
        length = response.headers.get("Content-Length", "")
        if not length.isdigit():
            raise DataError(f"{shown(address)}: the server does not say how long the archive is")
        return int(length), self._tag(address, response)

    def read(self, address, start):
        """(size of the whole, its ETag or date, pieces from byte `start` on)."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._request("GET", address, headers)
        tag = self._tag(address, response)
        if start and response.status != 206:  # a server without ranges: what is here is read over
            return self._length(response, 0), tag, self._pieces(response, skip=start)
        if start and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            response.close()
            raise Again("the server sends another range than was asked for")
        return self._length(response, start), tag, self._pieces(response)

    def _request(self, method, address, headers):
        headers = {"Accept-Encoding": "identity", "User-Agent": "webvision", **headers}
        try:
            # What comes short is kept and gone on from, so it is no error here; nor are redirects followed: who knows
            # where they lead tomorrow.
            response = self._pool.request(
                method, address, headers=headers, preload_content=False, enforce_content_length=False, redirect=False
            )
        except self._errors as error:
            raise Again(f"{type(error).__name__}") from None
        if response.status in (200, 206):
            return response
        response.close()
        if response.status in _RETRYABLE:
            raise Again(f"the server answers {response.status}")
        raise DataError(f"{shown(address)}: the server answers {response.status} {printable(response.reason or '')}")

    def _tag(self, address, response):
        tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if not tag:
            raise DataError(f"{shown(address)}: the server tells no ETag and no date, so a change could not be seen")
        return tag

    def _length(self, response, start):
        length = response.headers.get("Content-Length", "")
        return start + int(length) if length.isdigit() else -1

    def _pieces(self, response, skip=0):
        try:
            while data := response.read(_PIECE):
                yield data[skip:]
                skip = max(0, skip - len(data))
        except self._errors:
            return  # what came is kept; the rest is asked for again
        finally:
            response.close()


class S3:
    """Archives in object storage; credentials, region and endpoint from where AWS's own tools take them."""

    def __init__(self):
        try:
            import boto3
            import botocore.exceptions
        except ImportError:
            raise UsageError("s3:// addresses need boto3; install the extra: pip install boto3==1.44.8") from None
        self._errors = botocore.exceptions
        self._s3 = boto3.client("s3")

    def head(self, address):
        """As Http.head."""
        found = self._call(self._s3.head_object, address)
        return found["ContentLength"], found["ETag"]

    def read(self, address, start):
        """As Http.read."""
        found = self._call(self._s3.get_object, address, Range=f"bytes={start}-")
        return start + found["ContentLength"], found["ETag"], self._pieces(found["Body"])

    def _call(self, call, address, **options):
        parts = urlsplit(address)
        try:
            return call(Bucket=parts.netloc, Key=parts.path.lstrip("/"), **options)
        except self._errors.ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", status)
            if status in _RETRYABLE:
                raise Again(f"the server answers {code}") from None
            raise DataError(f"{shown(address)}: the server answers {code}") from None
        except self._errors.NoCredentialsError:
            raise UsageError(
                f"{shown(address)}: no credentials; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws, hold them"
            ) from None
        except self._errors.BotoCoreError as error:
            raise Again(type(error).__name__) from None

    def _pieces(self, body):
        try:
            yield from body.iter_chunks(_PIECE)
        except (self._errors.BotoCoreError, OSError):
            return
        finally:
            body.close()
