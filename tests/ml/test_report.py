import re
import subprocess
import sys
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest

from mlops_assets.ml.evaluation import evaluate
from mlops_assets.ml.gates import Gates
from mlops_assets.ml.page import Pictures
from mlops_assets.ml.report import render, verdict
from mlops_assets.ml.threshold import Costs

HOSTILE = """<script src="https://evil.example/x.js">'$"""
FACTS = {"Commit": "4f1c2a9", "Parameters": "150 rounds"}


GATES = Gates.model_validate(
    {"brier_skill": {"above": 0}, "calibration_slope": {"from": 0.5, "to": 1.5}}
)


def rendered(measured, title="Title", facts=FACTS):
    return render(measured, GATES.judge(measured), title, facts)


def pictures(report):
    return {
        picture.name: picture.png
        for section in report.sections
        for part in section.parts
        if isinstance(part, Pictures)
        for picture in part.shown
    }


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
        costs=Costs(false_alarm=1, miss=3),
        importance={hostile: 0.4, "hour": 0.2},
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
    return Page(rendered(evaluation(hostile=HOSTILE), HOSTILE, facts).html.decode())


def test_two_processes_render_the_same_bytes():
    script = (
        "import sys; from mlops_assets.ml.evaluation import Evaluation; "
        "from mlops_assets.ml.report import render; "
        "found = Evaluation.from_json(sys.stdin.buffer.read()); "
        f"sys.stdout.buffer.write(render(found, (), 'Title', {FACTS!r}).html)"
    )
    measured = evaluation()
    done = subprocess.run(
        [sys.executable, "-c", script], input=measured.to_json(), capture_output=True, check=True
    )
    assert done.stdout == render(measured, (), "Title", FACTS).html


def test_a_readers_own_matplotlib_settings_leave_no_trace():
    measured = evaluation()
    plain = pictures(rendered(measured))
    with mpl.rc_context({"lines.linewidth": 9, "font.size": 20, "axes.facecolor": "red"}):
        assert pictures(rendered(measured)) == plain


def test_pictures_are_png_without_a_date_or_a_version():
    found = pictures(rendered(evaluation()))
    assert set(found) == {"Ranking", "Precision and recall", "Calibration", "Importance"}
    for picture in found.values():
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
    page = Page(rendered(evaluation()).html.decode())
    images = [found for tag, found in page.tags if tag == "img"]
    assert len(images) == 4
    assert all(re.search(r"0\.\d{3}", found["alt"]) for found in images)
    assert all(found.get("scope") in {"row", "col"} for tag, found in page.tags if tag == "th")
    assert next(found for tag, found in page.tags if tag == "html") == {"lang": "en"}


def test_numbers_and_facts_are_on_the_page():
    measured = evaluation()
    text = " ".join(Page(rendered(measured).html.decode()).words)
    for shown in (
        "3,000",
        f"{measured.model.roc_auc:.4f}",
        f"{measured.baseline.brier:.4f}",
        *FACTS.values(),
    ):
        assert shown in text


def test_the_verdict_follows_the_skill():
    better, worse = verdict(evaluation()), verdict(evaluation(sharpness=-1))
    assert (better.good, better.headline) == (True, "Better than the AA rate")
    assert (worse.good, worse.headline) == (False, "No better than the AA rate")
    assert "smaller than the baseline's" in better.sentence
    assert "larger than the baseline's" in worse.sentence


def test_a_slice_too_small_to_judge_by_is_grey():
    html = rendered(evaluation(), facts={}).html.decode()
    assert '<tr class="few"><th scope="row">AA</th>' in html
    assert '<tr><th scope="row">UA</th>' in html


def test_the_gates_are_told_with_their_result_and_reason():
    for sharpness, word in ((1.0, "passed"), (-1.0, "refused")):
        measured = evaluation(sharpness)
        text = " ".join(Page(rendered(measured).html.decode()).words)
        for result in GATES.judge(measured):
            assert result.sentence in text
            assert result.limit in text
        assert word in text


def test_markdown_says_what_the_page_says():
    report = rendered(evaluation())
    shown = Page(report.html.decode())
    told = report.markdown.replace("\\", "")
    for section in report.sections:
        assert section.title in told
    numbers = {word for words in shown.words for word in re.findall(r"\d+\.\d{3,4}\b", words)}
    assert len(numbers) > 40
    assert all(number in told for number in numbers)
    assert told.count("data:image/png;base64,") == 4


def test_words_from_data_are_no_markup_in_markdown():
    report = rendered(evaluation(hostile=HOSTILE), HOSTILE, {HOSTILE: HOSTILE})
    assert "\\<script" in report.markdown
    assert not re.search(r"(?<!\\)[<>]", report.markdown)
    lines = report.markdown.splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
