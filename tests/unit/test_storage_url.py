"""URLs of storages: read, joined, matched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.storage.url import SCHEMES, StorageURL, is_storage_url, parse_url

SEGMENT = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=30
).filter(lambda text: text not in (".", ".."))
PATHS = st.lists(SEGMENT, max_size=5).map("/".join)
BUCKET = st.from_regex(r"[a-z0-9][a-z0-9.-]{1,20}", fullmatch=True)
OBJECT_STORES = st.sampled_from(["s3", "s3a", "gs", "swift", "hdfs"])
PROFILE = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name[0] not in "."
)


@given(OBJECT_STORES, BUCKET, PATHS, st.booleans())
def test_a_plain_url_is_what_its_text_says(
    scheme: str, bucket: str, path: str, slash: bool
) -> None:
    path += "/" * (slash and bool(path))
    url = parse_url(f"{scheme}://{bucket}/{path}")
    assert (url.scheme, url.authority, url.path, url.profile) == (scheme, bucket, path, "")
    assert parse_url(str(url)) == url
    assert url.is_directory == (slash or not path)


@given(PROFILE, PATHS)
def test_a_path_below_a_profile_is_what_its_text_says(name: str, path: str) -> None:
    url = parse_url(f"{name}:{path}")
    assert (url.scheme, url.profile, url.path) == ("", name, path)
    assert parse_url(str(url)) == url
    assert is_storage_url(str(url))


@given(PATHS.filter(bool), st.lists(SEGMENT, min_size=1, max_size=3))
def test_joining_and_taking_apart_are_inverse(path: str, more: list[str]) -> None:
    base = StorageURL("s3", "bucket", path)
    joined = base.join(*more)
    assert joined.path == "/".join([path, *more])
    for _ in more:
        joined = joined.parent
    assert joined == base.as_directory()


@given(PATHS.filter(bool))
def test_the_name_is_the_last_segment(path: str) -> None:
    url = StorageURL("s3", "bucket", path)
    assert url.name == path.rpartition("/")[2]
    assert url.as_directory().name == url.name
    assert url.as_directory().as_directory() == url.as_directory()


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_reason(text: str) -> None:
    try:
        url = parse_url(text)
    except InputError as error:
        assert repr(text)[:20] in error.message
    else:
        assert parse_url(str(url)) == url


@given(st.text("ab/*?[]{},.-", min_size=1, max_size=12), st.text("ab/.-", max_size=12))
def test_matching_never_fails(pattern: str, path: str) -> None:
    assert StorageURL("s3", "bucket", pattern).matches(path) in (True, False)


@pytest.mark.parametrize(
    "text",
    ["s3://b/%2F", "s3://b/a+b c", "s3://b/-x", "s3://b/a..b", "s3://b/ü/é", "s3://b/a:b@c?d#e"],
)
def test_names_are_taken_as_they_are_written(text: str) -> None:
    assert str(parse_url(text)) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must not be empty"),
        ("a\0b", "NUL"),
        ("ftp://host/x", "unknown scheme 'ftp'"),
        ("s3:///key", "nothing stands between"),
        ("gs://", "nothing stands between"),
        ("file://host/x", "three slashes"),
        ("s3://b/a/../c", "segment '..'"),
        ("s3://b/./c", "segment '.'"),
        ("s3://b/a//c", "two slashes"),
        ("aws:a/../../b", "segment '..'"),
        ("Not A Name:x", "no name of a storage profile"),
    ],
)
def test_what_can_be_no_url_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_url(text)


def test_nothing_leads_out_of_a_directory() -> None:
    base = parse_url("aws:books/")
    for part in ("..", "a/../../b", "."):
        with pytest.raises(InputError):
            base.join(part)


def test_a_path_of_this_machine_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("data/a b", "./data/a b", "../" + tmp_path.name + "/data/a b", "~/data/a b"):
        assert str(parse_url(text)) == f"file://{tmp_path}/data/a b"
    assert str(parse_url("./a:b")) == f"file://{tmp_path}/a:b"
    assert parse_url("data/").is_directory
    assert str(parse_url("/")) == "file:///"
    assert os.sep == "/"


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("a/*.csv", ["a/b.csv", "a/.csv"], ["a/b/c.csv", "a/b.txt", "b.csv"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["c", "a/b"]),
        ("a?c", ["abc", "a.c"], ["a/c", "ac", "abbc"]),
        ("[ab]x", ["ax", "bx"], ["cx", "abx"]),
        ("{a,b/c}/x", ["a/x", "b/c/x"], ["b/x", "c/x"]),
        ("{a,b}{1,2}", ["a1", "b2"], ["ab", "a12"]),
        ("year=*/month={1,2}/*", ["year=9/month=1/f"], ["year=9/month=3/f"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    url = StorageURL("s3", "bucket", pattern)
    assert url.has_glob
    assert [path for path in [*fits, *fits_not] if url.matches(path)] == fits


@pytest.mark.parametrize(
    ("pattern", "root"),
    [("*", ""), ("a/*", "a/"), ("a/b*/c", "a/"), ("a/b/{c,d}", "a/b/"), ("plain/x", "plain/x")],
)
def test_the_directory_below_which_a_pattern_is_looked_for(pattern: str, root: str) -> None:
    assert StorageURL("s3", "bucket", pattern).glob_root.path == root


def test_a_question_mark_of_the_web_is_no_pattern() -> None:
    url = parse_url("https://host/x?version=[1]*&a=//b/../c")
    assert not url.has_glob
    assert str(url) == "https://host/x?version=[1]*&a=//b/../c"


@pytest.mark.parametrize("text", [f"{scheme}://x/y" for scheme in SCHEMES if scheme != "file"])
def test_every_scheme_is_known(text: str) -> None:
    assert is_storage_url(text)
    assert str(parse_url(text)) == text


@pytest.mark.parametrize("text", ["a/b", "/a", "x.csv", "12:30:00", "C:\\x", "", "Ab:c", "ftp://x"])
def test_what_is_no_storage(text: str) -> None:
    assert is_storage_url(text) == (text == "12:30:00")  # a profile may be named 12
