"""WebDataset's shards: tars whose members share a key, `KEY.jpg` its picture and `KEY.cls` its label in digits.

The library cuts a member's name at the first dot of its last part. A picture's name with more dots than one would come
apart there, so `pack` writes those as %2E and says so in the archive's comment; readers of ours turn them back.
(A picture without a suffix it does not see at all.)
"""

import re

COMMENT = b"webvision pack 1"  # of an archive (a pax header for all of it)
_ESCAPED = re.compile(rb"%(2E|25)")


def member_name(name):
    """The name of a picture (bytes) as a member's: its key has no dot."""
    folder, slash, last = name.rpartition(b"/")
    stem, dot, suffix = last.replace(b"%", b"%25").rpartition(b".")
    return folder + slash + stem.replace(b".", b"%2E") + dot + suffix


def label_name(member):
    """The name of the member that holds the label of the picture `member`."""
    folder, slash, last = member.rpartition(b"/")
    return folder + slash + last.partition(b".")[0] + b".cls"


def unescape(member):
    """The picture's name of which `member_name` made `member`."""
    if b"%" not in member:
        return member
    folder, slash, last = member.rpartition(b"/")
    return folder + slash + _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), last)
