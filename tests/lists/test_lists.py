"""The strict reader: what a list line may be (L1, L2, L4, L5), and that every complaint names file, line and reason."""

import os
import random
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webvision.data.lists import scan
from webvision.data.lists.class_names import read_class_names
from webvision.data.lists.index import open_index
from webvision.data.lists.text import Entry, plain_line, read_classes, read_list
from webvision.errors import DataError


def write(tmp_path, data, name="train.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return str(path)


def both_readers(path, num_classes=5, **options):
    """What the line parser and the index read; they must agree, in what they accept and in what they say."""
    try:
        strict = list(read_list(path, num_classes, **options))
    except DataError as error:
        with pytest.raises(DataError) as scanned:
            open_index(path, num_classes, **options)
        assert str(scanned.value) == str(error)
        raise
    index = open_index(path, num_classes, **options)
    assert [index.entry(i) for i in range(len(index))] == strict == list(index.entries())
    return strict


def test_a_plain_list(tmp_path):
    path = write(tmp_path, b"n0/a.jpg 0\nn1/b.jpg 4\n")
    assert both_readers(path) == [Entry("n0/a.jpg", 0), Entry("n1/b.jpg", 4)]


def test_the_last_newline_may_be_missing(tmp_path):
    assert both_readers(write(tmp_path, b"a.jpg 0\nb.jpg 14")[:], 15)[-1] == Entry("b.jpg", 14)


def test_names_with_blanks_split_at_the_last_one(tmp_path):
    path = write(tmp_path, b"n0/my cat 2.jpg 3\nplain.jpg 1\nn1/a b c 4\n")
    assert both_readers(path) == [("n0/my cat 2.jpg", 3), ("plain.jpg", 1), ("n1/a b c", 4)]


def test_a_list_without_labels(tmp_path):
    path = write(tmp_path, b"test 1.jpg\ntest000002.JPEG\nno suffix\n")
    assert both_readers(path) == [("test 1.jpg", None), ("test000002.JPEG", None), ("no suffix", None)]
    index = open_index(path, 5)
    assert index.labels is None and index.labelled is False and index.counts.sum() == 0


def test_upstreams_test_list_with_appended_zeros_is_a_labelled_list(tmp_path):
    assert both_readers(write(tmp_path, b"test000001.jpg 0\ntest000002.jpg 0\n"))[1] == ("test000002.jpg", 0)


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"", "blank line"),
        (b"n0/a.jpg", "no label"),
        (b" \t\r", "blank line"),
        (b"n0/a.jpg ", "no label"),
        (b" 1", "no label"),
        (b"n0/a\tb.jpg 1", "a tab within the name"),
        (b"n0/a\rb.jpg 1", "a carriage return within the name"),
        (b"n0/a.jpg 1 \t 2\r", "two labels"),
        (b" ../x.jpg\t1", "'..' in the name"),
        (b"\xef\xbb\xbf/etc/passwd 1", "absolute name"),
        (b"n0/a\0.jpg 1", "NUL"),
        (b"# n0/a.jpg 1", "comments"),
        (b"n0/a.jpg 1 2", "two labels"),
        (b"n0/a.jpg 1 # cat", "is not a class number"),
        (b"n0/a.jpg -1", "'-1' is not a class number"),
        (b"n0/a.jpg +1", "not a class number"),
        (b"n0/a.jpg 5", "label '5' is outside 0..4; is this list for another synsets.txt?"),
        (b"n0/a.jpg 1e3", "not a class number"),
        (b"n0/a.jpg 1.0", "not a class number"),
        (b"n0/a.jpg n01440764", "not a class number"),
        (b"n0/a.jpg 4294967297", "outside 0..4"),
        (b"n0/a.jpg 99999999999999999999999", "outside 0..4"),
        ("n0/a.jpg ٣".encode(), "not a class number"),
        (b"/etc/passwd 1", "absolute name"),
        (b"../x.jpg 1", "'..' in the name"),
        (b"n0/../../x.jpg 1", "'..' in the name"),
        (b"n0/.. 1", "'..' in the name"),
        (b"x" * 5000 + b".jpg 1", "more than 4096 bytes"),
        (b"x" * (1 << 20) + b".jpg 1", "more than 4096 bytes"),
        (b"x" * (5 << 20), "more than 4096 bytes"),
    ],
)
def test_a_wrong_line_is_refused_with_file_line_and_reason(tmp_path, line, reason):
    good = b"n0/%d.jpg 1\n"
    path = write(tmp_path, b"".join(good % i for i in range(3)) + line + b"\n" + good % 4)
    with pytest.raises(DataError) as error:
        both_readers(path)
    assert str(error.value).startswith(f"{path}:4: ") and reason in str(error.value)


AS_UPSTREAM = {
    "CRLF": (lambda line: line + b"\r", "a Windows line end (CR LF)"),
    "tab": (lambda line: b"\t".join(line.rsplit(b" ", 1)), "a tab for a blank"),
    "several blanks": (lambda line: b" \t  ".join(line.rsplit(b" ", 1)), ""),
    "trailing blanks": (lambda line: line + b" \t ", ""),
    "leading blanks": (lambda line: b"  " + line, "blanks around the line"),
    "BOM": (lambda line: b"\xef\xbb\xbf" + line, "a byte order mark"),
    "all": (lambda line: b"\xef\xbb\xbf " + b"\t ".join(line.rsplit(b" ", 1)) + b" \r", "a byte order mark"),
}


@pytest.mark.parametrize(
    "style, labelled",
    [(style, True) for style in AS_UPSTREAM]
    + [(style, False) for style in ("CRLF", "trailing blanks", "leading blanks", "BOM")],
)
def test_a_list_as_upstream_reads_it_is_read_so_and_told_once(tmp_path, capsys, style, labelled):
    change, told = AS_UPSTREAM[style]
    names = [b"n0/a.jpg", b"my cat 2.jpg", b"\xc3\xa4/b.png", b"n1/c.jpg"]
    plain = [b"%s %d" % (name, row) if labelled else name for row, name in enumerate(names)]
    odd = [line if row == 1 else change(line) for row, line in enumerate(plain)]
    path = write(tmp_path, b"\n".join(odd) + b"\n")
    assert both_readers(path) == both_readers(write(tmp_path, b"\n".join(plain) + b"\n", "plain.txt"))
    said = capsys.readouterr().err
    assert said.count("read as upstream reads it") == 1 and f"{path}:1: {told}" in said and "and 2 more lines" in said
    index = open_index(path, 5)
    assert [index.name(row).encode("utf-8") for row in (3, 0, 2)] == [names[row] for row in (3, 0, 2)]
    assert capsys.readouterr().err == "", "the second time it is known"


def test_classes_as_upstream_reads_them(tmp_path):
    path = write(tmp_path, b"\xef\xbb\xbfn1 tench\r\n  n2\tcat\r\nn3 \r\n", "synsets.txt")
    assert read_classes(path) == ["n1", "n2", "n3"]
    assert read_class_names(path) == ["tench", "cat", "n3"]


def test_of_several_wrong_lines_the_first_is_named(tmp_path):
    lines = [b"n0/%d.jpg 1\n" % i for i in range(200_000)]  # more than one chunk of the scan
    lines[150_001], lines[170_000], lines[190_000] = b"a.jpg 7\n", b"\n", b"/x 1\n"
    with pytest.raises(DataError, match=":150002: label '7'"):
        both_readers(write(tmp_path, b"".join(lines)))


@pytest.mark.parametrize(
    "first, reason",
    [
        (b"\xff\xfen\x000\x00", "NUL"),
        (b"", "blank line"),
        (b"a.jpg -1", "not a class number"),
        (b"a.jpg x", "not a class number"),
        (b"a.jpg\tx", "not a class number"),
    ],
)
def test_a_wrong_first_line(tmp_path, first, reason):
    path = write(tmp_path, first + b"\nn0/b.jpg 1\n")
    with pytest.raises(DataError, match=f"{re.escape(path)}:1: .*{reason}"):
        both_readers(path)


def test_a_label_in_a_list_without_labels_is_refused(tmp_path):
    with pytest.raises(DataError, match=":2: a label after the name"):
        both_readers(write(tmp_path, b"a.jpg\nb.jpg 3\n"))


@pytest.mark.parametrize("data", [b""])
def test_an_empty_list_is_a_clear_error(tmp_path, data):
    with pytest.raises(DataError, match="train.txt: the list is empty"):
        both_readers(write(tmp_path, data))


def test_outside_names_are_accepted_on_request(tmp_path):
    path = write(tmp_path, b"../other/a.jpg 1\n/abs/b.jpg 2\n")
    assert both_readers(path, allow_outside=True) == [("../other/a.jpg", 1), ("/abs/b.jpg", 2)]
    with pytest.raises(DataError, match=":1: "):  # the index made with leave does not serve without
        open_index(path, 5)


def test_dots_inside_names_are_harmless(tmp_path):
    assert both_readers(write(tmp_path, b"n0/a..b.jpg 1\n..a/b.. 2\n..../x 0\n"))[1] == ("..a/b..", 2)


def test_names_that_are_not_utf8_come_out_unchanged(tmp_path):
    names = [
        b"n0/caf\xe9.jpg",
        "n0/café.jpg".encode(),
        "n0/café.jpg".encode(),
        b"n0/[a]*?.jpg",
        b"n0/\x1b[31m.jpg",
        b"\x80\xff",
    ]
    entries = both_readers(write(tmp_path, b"".join(name + b" 1\n" for name in names)))
    assert [entry.name.encode("utf-8", "surrogateescape") for entry in entries] == names


def test_a_missing_list_and_a_fifo_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        list(read_list(tmp_path / "none.txt", 5))
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(DataError, match="not a regular file"):
            open_index(path, 5)


LINES = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.text("ab/. #\t\r0123456789-é", max_size=14).map(str.encode),
        st.builds(
            lambda name, label: name.encode() + b" " + str(label).encode(),
            st.text("ab .1/", min_size=1, max_size=8),
            st.integers(-1, 12),
        ),
        st.sampled_from([b"a.jpg 1", b"b c.jpg 2", b"a.jpg", b"n0/x.JPG 0"]),
    ),
    max_size=8,
)


@settings(max_examples=400, deadline=None)
@given(LINES, st.booleans(), st.booleans())
@example([b"a.jpg 1 "], True, False)
@example([b"\x20", b"1 1"], True, False)
def test_fuzz_both_readers_agree_and_only_data_errors_come_out(tmp_path_factory, lines, newline, outside):
    path = write(tmp_path_factory.mktemp("fuzz"), b"\n".join(lines) + b"\n" * newline)
    try:
        entries = both_readers(path, 11, allow_outside=outside)
    except DataError as error:
        assert str(error).startswith(path)
        return
    assert all(entry.label is None or 0 <= entry.label < 11 for entry in entries)
    labelled = entries[0].label is not None
    plain = [plain_line(line, labelled=labelled) for line in open(path, "rb").read().removesuffix(b"\n").split(b"\n")]
    names = [line.rpartition(b" ")[0] if labelled else line for line in plain]
    assert [entry.name.encode("utf-8", "surrogateescape") for entry in entries] == names
    assert not labelled or [entry.label for entry in entries] == [int(line.rpartition(b" ")[2]) for line in plain]
    if not outside:
        assert not any(e.name.startswith("/") or ".." in e.name.split("/") for e in entries)


# --- classes ---


def test_classes_are_first_words_in_line_order(tmp_path):
    path = write(tmp_path, b"n01440764 tench, Tinca tinca\nn01443537\nq00001\twords", "synsets.txt")
    assert read_classes(path) == ["n01440764", "n01443537", "q00001"]


@pytest.mark.parametrize(
    "line, reason",
    [
        (b"", "blank line"),
        (b"  ", "blank line"),
        (b"n1", "already stands in line 1"),
        (b"../x", "not a folder name"),
        (b"/abs", "not a folder"),
        (b"..", "not a folder name"),
        (b".", "not a folder name"),
        (b"a/b words", "not a folder"),
        (b"n3\r4", "carriage return"),
        (b"n\0", "NUL"),
        (b"x" * 9999, "more than 4096 bytes"),
    ],
)
def test_a_wrong_class_line_is_refused(tmp_path, line, reason):  # P5
    path = write(tmp_path, b"n1\nn2\n" + line + b"\nn4\n", "synsets.txt")
    with pytest.raises(DataError, match=f"{re.escape(path)}:3: .*{reason}"):
        read_classes(path)


def test_an_empty_file_of_classes_is_refused(tmp_path):
    with pytest.raises(DataError, match="empty"):
        read_classes(write(tmp_path, b"", "synsets.txt"))


def test_borders_between_chunks_of_the_scan_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "CHUNK", 1 << 13)
    rng = random.Random(5)
    lines = [b"n%d/%s.jpg %d" % (i % 5, b"long name " * rng.randrange(40), i % 5) for i in range(3000)]
    lines = [line.replace(b" .jpg", b".jpg") for line in lines]
    assert len(both_readers(write(tmp_path, b"\n".join(lines)))) == 3000
    lines[2000] = b"n0/a.jpg 5"
    with pytest.raises(DataError, match=":2001: "):
        both_readers(write(tmp_path, b"\n".join(lines)))
