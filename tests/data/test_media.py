"""The media column: any text is read, valid media come back whole, views are never seen."""

import ast
import math
import re
import time

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavesim.data.media import MAX_DEPTH, Media, MediaItem, MediaKind, parse_media
from behavesim.data.tweets import with_media

VIDEO = (
    "[Video(thumbnailUrl='https://t/v.jpg', variants=[VideoVariant(contentType='video/mp4', url='https://v/1.mp4', "
    "bitrate=832000), VideoVariant(contentType='x', url='y', bitrate=None)], duration=57.758, views={views})]"
)
GIF = "Gif(thumbnailUrl='g.jpg', variants=[VideoVariant(contentType='video/mp4', url='g.mp4', bitrate=0)])"
PHOTO = "Photo(previewUrl='small', fullUrl='large')"

# The first draw of any text builds a table of characters, which takes seconds on a busy machine.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
urls = st.one_of(
    st.text(alphabet="'\"\\,()[]= ab\n", min_size=1), st.text(alphabet=st.characters(codec="utf-8"), min_size=1)
)
seconds = st.one_of(st.none(), st.floats(min_value=0, max_value=1e9))
views = st.one_of(st.none(), st.integers(min_value=0))
variants = st.lists(
    st.builds("VideoVariant(contentType={!r}, url={!r}, bitrate={!r})".format, urls, urls, views), max_size=3
)


@st.composite
def written_items(draw: st.DrawFn) -> tuple[str, MediaItem]:
    kind, url = draw(st.sampled_from(MediaKind)), draw(urls)
    if kind is MediaKind.PHOTO:
        other = draw(urls)
        return f"Photo(previewUrl={other!r}, fullUrl={url!r})", MediaItem(kind, (url, other), None)
    inner = f"thumbnailUrl={url!r}, variants=[{', '.join(draw(variants))}]"
    if kind is MediaKind.GIF:
        return f"Gif({inner})", MediaItem(kind, (url,), None)
    duration = draw(seconds)
    return f"Video({inner}, duration={duration!r}, views={draw(views)!r})", MediaItem(kind, (url,), duration)


@patient
@given(st.lists(written_items(), max_size=5))
def test_valid_media_round_trip(written):
    media = parse_media("[" + ", ".join(text for text, _ in written) + "]")
    assert media == Media(tuple(item for _, item in written), None)


@patient
@given(st.lists(written_items(), min_size=1, max_size=3), st.data())
def test_items_before_a_cut_are_kept(written, data):
    text = "[" + ", ".join(text for text, _ in written) + "]"
    cut = data.draw(st.integers(min_value=1, max_value=len(text) - 1))
    media = parse_media(text[:cut])
    whole = [len("[" + ", ".join(text for text, _ in written[: n + 1])) <= cut for n in range(len(written))]
    assert media.problem is not None
    assert media.items == tuple(item for (_, item), kept in zip(written, whole, strict=True) if kept)


def check_any(text):
    """What holds of every text, published or not."""
    media = parse_media(text)
    assert isinstance(media, Media)
    assert all(isinstance(url, str) and url for item in media.items for url in item.urls)
    assert all(item.duration is None or 0 <= item.duration < math.inf for item in media.items)
    if media.problem is not None:
        place, told = re.match(r"character (\d+): (.+)", media.problem, re.DOTALL).groups()
        assert int(place) <= len(text)
        if found := re.match(r"found ('.*'|\".*\"), expected ", told):
            # What is shown stands where it is said to stand.
            assert text[int(place) :].startswith(ast.literal_eval(found[1]).removesuffix("…"))
    return media


anything = st.characters(exclude_categories=[])  # NUL and lone surrogates too


@patient
@given(st.text(anything) | st.text(alphabet="[]()'\",=\\.-+ 0129eNoneTrue\n\0\ud800"))
def test_any_text_is_read(text):
    check_any(text)


@settings(patient, max_examples=300)
@given(st.lists(written_items(), min_size=1, max_size=3), st.data())
def test_a_damaged_cell_is_read(written, data):
    text = "[" + ", ".join(text for text, _ in written) + "]"
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 20, len(text))))
        # Something lost, something put in, something twice.
        put = data.draw(st.sampled_from(["", text[start:end] * 2]) | st.text(anything, max_size=3))
        text = text[:start] + put + text[end:]
    check_any(text)


@pytest.mark.parametrize("sign", ["\0", "\ud800", "\udfff", "\U0010ffff", "\n", "🔥", "é"])
def test_any_sign_stands_in_a_link(sign):
    assert parse_media(f"[Photo(fullUrl='a{sign}b')]") == Media(
        (MediaItem(MediaKind.PHOTO, (f"a{sign}b",), None),), None
    )


WORDS = ["Photo", "Video", "Gif", "VideoVariant", "fullUrl", "duration", "views", "None"]
PIECES = [*"[]()'\",=\\ \n1", *WORDS, PHOTO, GIF]


@settings(patient, max_examples=300)
@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_any_text_from_the_grammars_alphabet_is_read(text):
    check_any(text)


@patient
@given(views, views)
def test_views_change_nothing(first, second):
    assert parse_media(VIDEO.format(views=first)) == parse_media(VIDEO.format(views=second))
    assert parse_media(VIDEO.format(views=first)).items[0].duration == 57.758


@pytest.mark.parametrize("text", [None, "", "  ", "[]", " [ ] ", "None"])
def test_nothing_is_no_problem(text):
    assert parse_media(text) == Media((), None)


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        ("", "none"),
        (PHOTO, "photo"),
        (f"{PHOTO}, {PHOTO}", "photos"),
        (GIF, "gif"),
        (VIDEO.format(views=1)[1:-1], "video"),
        (f"{PHOTO}, {GIF}", "mixed"),
    ],
)
def test_kind(items, kind):
    assert parse_media(f"[{items}]").kind == kind


@pytest.mark.parametrize(
    ("text", "kept", "problem"),
    [
        (f"[{PHOTO}, Audio(url='x'), {GIF}]", 2, "character 45: unknown media object 'Audio'"),
        (f"[{PHOTO}", 1, "character 43: found the end, expected ',' or ']'"),
        (f"[{PHOTO}] x", 1, "character 45: found 'x', expected the end"),
        (f"[{PHOTO}] ;x", 1, "character 45: found ';x', expected the end"),
        (f"[{PHOTO}];", 1, "character 44: found ';', expected the end"),
        (f"[{PHOTO}\0]", 1, "character 43: found '\\x00]', expected ',' or ']'"),
        (f"[{PHOTO} {PHOTO}", 1, "character 44: found 'Photo', expected ',' or ']'"),
        ("[Photo(fullUrl='" + 30 * "x", 0, "character 15: found \"'" + 23 * "x" + '…", expected a value'),
        ("Photo()", 0, "character 0: found 'Photo', expected '['"),
        ("[3]", 0, "character 1: expected Photo(…), Video(…) or Gif(…)"),
        ("[VideoVariant()]", 0, "character 1: expected Photo(…), Video(…) or Gif(…)"),
        ("[Photo('x')]", 0, "character 7: found \"'x'\", expected a keyword or ')'"),
        ("[Photo(fullUrl='x]", 0, 'character 15: found "\'x]", expected a value'),
        ("[Photo(fullUrl=3)]", 1, "character 1: Photo.fullUrl is not text"),
        ("[Video(duration='x')]", 1, "character 1: Video.duration is not a number"),
        ("[Video(duration=-1)]", 1, "character 1: duration -1.0 is not a number of seconds"),
        ("[Video(duration=1e999)]", 1, "character 1: duration inf is not a number of seconds"),
    ],
)
def test_a_fault_is_named_and_the_rest_kept(text, kept, problem):
    media = parse_media(text)
    assert (len(media.items), media.problem) == (kept, problem)


def test_unknown_keywords_and_missing_links_are_tolerated():
    media = parse_media("[Photo(alt=[True, 'x'], fullUrl=None, previewUrl=\"it's\",)]")
    assert media == Media((MediaItem(MediaKind.PHOTO, ("it's",), None),), None)


def test_escapes_that_are_no_character_stay_as_written():
    url = r"\ud800 \U00110000 \q \x41 \u00e9"
    assert parse_media(f"[Photo(fullUrl='{url}')]").items[0].urls == (r"\ud800 \U00110000 \q A é",)


@patient
@given(st.lists(st.lists(written_items(), max_size=3), max_size=8))
def test_a_column_of_items_holds_all_of_them_in_order(table):
    cells = ["[" + ", ".join(text for text, _ in written) + "]" for written in table]
    found = with_media(pl.DataFrame({"media": cells}, schema={"media": pl.String}))
    assert found["media_items"].to_list() == [
        [{"kind": item.kind.value, "urls": list(item.urls), "duration": item.duration} for _, item in written]
        for written in table
    ]
    item = pl.Struct({"kind": pl.String, "urls": pl.List(pl.String), "duration": pl.Float64})
    assert found.schema["media_items"] == pl.List(item)
    assert found["media_count"].to_list() == [len(written) for written in table]


@pytest.mark.parametrize("text", ["[" * 100_000, "[Photo(a=" * 100_000, "[Photo(a=" + "[" * 100_000 + "]" * 100_000])
def test_deep_nesting_does_not_crash(text):
    assert parse_media(text).problem.endswith(f"nested deeper than {MAX_DEPTH}")


# What could be read over and over: quotes and escapes that never end, and other beginnings.
QUOTES = ["['", "'a", "'\\'", "\\'", '\\"', "'\\\\", '["', "\\", "['\\"]
BEGINNINGS = ["\0", "\ud800", "\x1c", " ", "[9", "[-", "a", "[Photo(", "[Photo(a='x", "[9.", "[9e", PHOTO, "F(),", "[]"]


@pytest.mark.parametrize("piece", [*QUOTES, *BEGINNINGS])
@pytest.mark.parametrize("opening", ["", "[", "['", "[Photo(fullUrl='"])
def test_hostile_text_takes_linear_time(piece, opening):
    text = opening + piece * (300_000 // len(piece))
    start = time.perf_counter()
    parse_media(text)
    assert time.perf_counter() - start < 2  # quadratic would take minutes


def test_a_very_long_link_is_read_whole():
    link = "x\\'" * 500_000
    start = time.perf_counter()
    assert parse_media(f"[Photo(fullUrl='{link}')]").items[0].urls == ("x'" * 500_000,)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("name", ["train", "test_company", "test_time"])
def test_published_media_parse(name, shared):
    cells = pl.read_excel(shared / "data" / f"behaviour_simulation_{name}.xlsx", columns=["media"])["media"].to_list()
    parsed = [parse_media(cell) for cell in cells]
    assert len(cells) >= 10_000 and {media.problem for media in parsed} == {None}
    assert all(item.urls for media in parsed for item in media.items)
    assert {media.kind for media in parsed} == {"photo", "photos", "video", "gif"}
    assert parsed == [parse_media(re.sub(r"views=\w+", "views=7", cell)) for cell in cells]
