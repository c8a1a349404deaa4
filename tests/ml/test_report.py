import re
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest

from mlops_assets.ml.calibration import Bin
from mlops_assets.ml.evaluation import evaluate
from mlops_assets.ml.pictures import wilson_interval
from mlops_assets.ml.report import render, verdict

HOSTILE = """<script src="https://evil.example/x.js">'$"""
FACTS = {"Commit": "4f1c2a9", "Parameters": "150 rounds"}


def evaluation(sharpness=1.0, hostile="AA"):
    rng = np.random.default_rng(17)
    odds = rng.normal(-1, 1, 3000)
    labels = rng.random(3000) < 1 / (1 + np.exp(-odds))
    carriers = rng.choice([hostile, "UA", "B6"], 3000, p=[0.02, 0.48, 0.5]).tolist()
    return evaluate(
        labels,
        1 / (1 + np.exp(-odds * sharpness)),
        np.full(3000, labels.mean()),
        baseline_name=f"{hostile} rate",
        slices={hostile: carriers, "hour": rng.integers(5, 24, 3000).tolist()},
    )


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in {"src", "href", "action"}]

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def hostile_page():
    facts = {HOSTILE: HOSTILE}
    return Page(render(evaluation(hostile=HOSTILE), HOSTILE, facts).html.decode())


def test_two_processes_render_the_same_bytes():
    script = (
        "import sys; from mlops_assets.ml.evaluation import Evaluation; "
        "from mlops_assets.ml.report import render; "
        "found = Evaluation.from_json(sys.stdin.buffer.read()); "
        f"sys.stdout.buffer.write(render(found, 'Title', {FACTS!r}).html)"
    )
    measured = evaluation()
    done = subprocess.run(
        [sys.executable, "-c", script], input=measured.to_json(), capture_output=True, check=True
    )
    assert done.stdout == render(measured, "Title", FACTS).html


def test_a_readers_own_matplotlib_settings_leave_no_trace():
    measured = evaluation()
    plain = render(measured, "Title", FACTS)
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20, "axes.facecolor": "red"}):
        assert render(measured, "Title", FACTS).pictures == plain.pictures


def test_a_baseline_with_a_wide_name_lies_over_no_curve():
    def curves(name):
        named = evaluation().model_copy(update={"baseline_name": name})
        picture = mpl.image.imread(BytesIO(render(named, "Title", FACTS).pictures["roc.png"]))
        return picture[: int(0.8 * len(picture))]

    # As tall as each other in print, since a legend's height moves what is above it.
    np.testing.assert_array_equal(
        curves("carrier, scheduled_departure_hour rate"), curves("hour, dep_hour rate")
    )


def test_pictures_are_png_without_a_date_or_a_version():
    pictures = render(evaluation(), "Title", FACTS).pictures
    assert set(pictures) == {"roc.png", "calibration.png"}
    for picture in pictures.values():
        assert picture.startswith(b"\x89PNG")
        assert not re.search(rb"tEXt|iTXt|zTXt|tIME", picture)


def test_the_page_loads_nothing_and_runs_nothing(hostile_page):
    assert all(address.startswith("data:image/png;base64,") for address in hostile_page.addresses)
    assert "script" not in {tag for tag, _ in hostile_page.tags}
    policies = [found["content"] for tag, found in hostile_page.tags if "http-equiv" in found]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    style = "".join(hostile_page.words)
    assert "@import" not in style
    assert "url(" not in style


def test_words_from_data_are_shown_and_never_obeyed(hostile_page):
    words = [word.strip() for word in hostile_page.words]
    assert words.count(HOSTILE) == 6, "title, heading, slice column and value, fact and its name"
    assert f"By {HOSTILE}" in words


def test_every_picture_has_words_and_every_table_its_heads():
    page = Page(render(evaluation(), "Title", FACTS).html.decode())
    images = [found for tag, found in page.tags if tag == "img"]
    assert len(images) == 2
    assert all(re.search(r"0\.\d{3}", found["alt"]) for found in images)
    assert all(found.get("scope") in {"row", "col"} for tag, found in page.tags if tag == "th")
    assert next(found for tag, found in page.tags if tag == "html") == {"lang": "en"}


def test_numbers_and_facts_are_on_the_page():
    measured = evaluation()
    text = " ".join(Page(render(measured, "Title", FACTS).html.decode()).words)
    for shown in (
        "3,000",
        f"{measured.model.roc_auc:.4f}",
        f"{measured.baseline.brier:.4f}",
        *FACTS.values(),
    ):
        assert shown in text


def test_the_verdict_follows_the_skill():
    better, worse = verdict(evaluation()), verdict(evaluation(sharpness=-1))
    assert (better.better, better.headline) == (True, "Better than the AA rate")
    assert (worse.better, worse.headline) == (False, "No better than the AA rate")
    assert "smaller than the baseline's" in better.sentence
    assert "larger than the baseline's" in worse.sentence


def test_a_slice_too_small_to_judge_by_is_grey():
    html = render(evaluation(), "Title", {}).html.decode()
    assert '<tr class="few"><th scope="row">AA</th>' in html
    assert '<tr><th scope="row">UA</th>' in html


@pytest.mark.parametrize(
    ("positives", "n", "low", "high"),
    [(0, 10, 0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1)],
)
def test_intervals_are_wilsons(positives, n, low, high):
    part = Bin(lowest=0, highest=1, n=n, positives=positives, mean_score=0.5)
    assert wilson_interval(part) == pytest.approx((low, high), abs=1e-4)
