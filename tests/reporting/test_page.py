import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
from PIL import Image

from behavesim.reporting import tables
from behavesim.reporting.page import rendered, write_report

HOSTILE = (
    '<script>alert("x")</script> & <img src=https://evil.example/a.png> {{ evaluation }} \U0001f389 https://t.co/a'
)
SECTIONS = ["scores", "past", "differences", "predicted", "calibration", "companies", "accounts", "misses"]


class Page(HTMLParser):
    """Tags with their attributes, text, and what was left open."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "".join(self.words)


def hostile(make, **settings):
    evaluation = make(**settings)
    frame = evaluation.frame.with_columns(
        content=pl.lit(HOSTILE), username=pl.lit("<b>who</b>"), company=pl.lit("A & <i>B</i>")
    )
    return make(frame=frame, title="<u>mine</u> costs $5, not $6", **settings)


def test_nothing_is_fetched(evaluation, make):
    for text in (rendered(evaluation), rendered(hostile(make))):
        for tag, attributes in Page(text).tags:
            assert tag not in ("script", "link", "iframe", "object", "a", "form", "base")
            for name, value in attributes.items():
                assert name not in ("href", "srcset", "action", "onload", "onclick")
                assert name != "src" or value.startswith("data:image/png;base64,")
        assert not re.search(r"url\(|@import", text)
        assert "default-src 'none'" in text


def test_what_tweets_say_is_text(make):
    page = Page(rendered(hostile(make)))
    assert not page.open
    assert page.text.count(HOSTILE) == 20
    assert "<b>who</b>" in page.text and "A & <i>B</i>" in page.text
    assert page.text.count("<u>mine</u> costs $5, not $6") == 2  # title and heading
    assert not [tag for tag, _ in page.tags if tag in ("script", "i", "u")]


def test_every_section_opens_with_a_sentence_on_how_to_read_it(evaluation):
    sections = re.findall(r'<section id="(\w+)">\s*<h2>[^<]+</h2>\s*<p>([^<]+)</p>', rendered(evaluation))
    assert [name for name, _ in sections] == SECTIONS
    assert all(sentence.endswith(".") and len(sentence) > 60 for _, sentence in sections)


def test_numbers_are_those_of_metrics_json(evaluation):
    text = Page(rendered(evaluation)).text
    metrics = evaluation.metrics()
    for name in ("rmsle", "crps_log", "spearman", "coverage_80"):
        low, high = metrics["intervals"][name]
        row = re.search(rf"{name}[ ↓↑]*\S[^★]*?{metrics[name]:.3f}[^★]*?{low:.3f} to {high:.3f}", text)
        assert row, name
    assert "300 tweets of 30 accounts" in text
    assert "checkpoints/mine" in text


def test_scores_of_tweets_with_a_past_stand_alone_with_their_intervals(evaluation, make):
    text = rendered(evaluation)
    [section] = re.findall(r'<section id="past">.*?</section>', text, re.DOTALL)
    found = evaluation.metrics()["with_past"]
    assert f"{found['n']} tweets" in section and found["n"] < 300
    for name in ("rmsle", "medae", "spearman_within", "top_1_share", "parse_failures"):
        low, high = (tables.number(bound) for bound in found["intervals"][name])
        row = rf"<th>{name}[ <↓↑].*?<b>{tables.number(found[name])}</b><span class=\"interval\">{low} to {high}<"
        assert re.search(row, section, re.DOTALL), name
    for known in (None, np.zeros(300, int), np.ones(300, int)):
        assert 'id="past"' not in rendered(make(known=known))


def test_baselines_say_of_which_posts_they_are_made_and_which_are_missing(make):
    missing = "LightGBM is not among them: python -m behavesim.baselines data.path=… ckpt=a"
    text = rendered(make(missing=missing))
    [section] = re.findall(r'<section id="differences">.*?</section>', text, re.DOTALL)
    assert "training tweets of the account alone" in section and "likes of all training tweets" in section
    assert missing in section
    alone = rendered(make(missing=missing, beside=False))
    assert missing in alone and "verdict</th>" not in alone


def test_pictures_are_whole_and_described(evaluation):
    pictures = [attributes for tag, attributes in Page(rendered(evaluation)).tags if tag == "img"]
    assert len(pictures) == 3
    for picture in pictures:
        assert picture["alt"]
        with Image.open(io.BytesIO(base64.b64decode(picture["src"].partition(",")[2]))) as image:
            assert min(image.size) > 500


def test_a_model_without_quantiles_baselines_and_known_accounts(make):
    text = rendered(make(quantiles=False, beside=False, known=None, rows=40, accounts=3))
    assert "without quantiles" in text
    assert "There are only 3 accounts" in text
    for absent in ('id="differences"', 'id="accounts"', "inside 80 %", "80 % interval"):
        assert absent not in text
    assert not Page(text).open


def test_a_single_tweet_has_a_page(make):
    assert "1 tweets of 1 accounts" in rendered(make(rows=1, accounts=1))


def test_it_is_readable_on_paper_on_a_phone_and_in_the_dark(evaluation):
    text = rendered(evaluation)
    for rule in ("@media print", "prefers-color-scheme: dark", "width=device-width", "max-width: 36rem"):
        assert rule in text


def test_the_folder_is_made(evaluation, tmp_path):
    path = write_report(evaluation, tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "report.html"
    assert path.read_text(encoding="utf-8") == rendered(evaluation)
