"""The report: one file, readable by itself, with nobody's words as markup."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from finished_run import HOSTILE, finished  # noqa: F401

from unlearning.errors import RunDamagedError
from unlearning.evaluation import recorded
from unlearning.evaluation.html_report import html_report, write_report
from unlearning.evaluation.svg_charts import Series, curves, scatter

VOID = {"meta", "link", "img", "br", "hr", "input", "circle", "line", "path"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; notices tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words, self.open, self.crossed = set(), [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.crossed.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.text = "".join(reader.words)
    return reader


@pytest.fixture(scope="module")
def report(finished):
    return html_report(finished)


def test_nobodys_words_become_markup(report):
    found = read(report)
    assert found.tags <= set(
        "html head meta title style body main header section article footer div p h1 h2 h3 ol li dl dt dd pre strong "
        "span table thead tbody tr th td details summary svg text line path circle".split()
    )
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert HOSTILE in found.text and found.text.count("alert(1)") > 3
    assert found.crossed == [] and found.open == []


def test_it_needs_nothing_from_anywhere(report):
    found = read(report)
    names = {name for name, _ in found.attributes}
    assert not names & {"src", "href", "action", "srcset", "data"}
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", report.split("</style>")[0])
    assert "default-src 'none'" in report


def test_it_holds_settings_dictionary_figures_and_completions(finished, report):
    text = read(report).text
    for words in ("Before and after", "Forgotten?", "White Rabbit", "label.alpha", "Probability familiarity"):
        assert words in text
    curve = recorded.curves(finished)[0]
    assert f"{curve.points[-1][1]:.3g}" in text
    completion = recorded.measured(finished)["unlearned"]["completions"][1]
    assert completion["prompt"] in text
    assert report.count("<svg") >= 4
    assert (finished / "text.txt").read_text(encoding="utf-8")[500:700] not in text  # the text itself stays out


def test_file_is_written_whole(finished, tmp_path):
    target = write_report(finished, tmp_path / "a folder.html")
    assert target.read_text(encoding="utf-8").endswith("</html>\n") and list(tmp_path.iterdir()) == [target]


def test_run_that_was_stopped_has_a_shorter_report(finished, tmp_path):
    folder = tmp_path / "runs" / "abcdefgh"
    left_out = shutil.ignore_patterns("evaluate", "result.json", "summary.json", "*.safetensors")
    shutil.copytree(finished, folder, ignore=left_out)
    text = read(html_report(folder)).text
    assert "was not measured" in text and "Watching it forget" in text
    for path in (folder / "events.jsonl", folder / "anchors.json"):
        path.unlink()
    assert "Settings" in read(html_report(folder)).text


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunDamagedError):
        html_report(tmp_path)


def test_folder_of_a_model_is_not_told(finished, tmp_path):
    folder = tmp_path / "runs" / "abcdefgh"
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = folder / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("random:tiny", "/home/somebody/secret/model-x"))
    text = read(html_report(folder)).text
    assert "model-x" in text and "somebody" not in text


# --- charts ---


def test_curves_lie_inside_their_picture():
    drawn = curves([Series("a", [(0, 0.0), (10, 1.0)]), Series("b", [(0, 1.0), (10, 1.0)], "control")], "Title <b>")
    places = [float(number) for path in re.findall(r'd="([^"]+)"', drawn) for number in re.findall(r"[\d.]+", path)]
    assert max(places) <= 640 and min(places) >= 0 and "Title &lt;b&gt;" in drawn and drawn.count("<path") == 2


def test_curves_of_nothing_and_of_one_point():
    assert "<svg" in curves([], "Nothing") and "<svg" in curves([Series("a", [(0, 0.5)])], "One")
    assert "<svg" in curves([Series("loss", [(1, 0.0), (2, 0.0)], "loss")], "Zero", share=False)


def test_scatter_shows_what_a_point_is():
    drawn = scatter([Series("probe", [(0.9, 0.0), (1e-12, 1.0)])], "Points", [["<x>", "b"]])
    assert drawn.count("<circle") == 2 and "&lt;x&gt;: 90%" in drawn and "<x>" not in drawn


def test_style_sheet_is_there():
    from unlearning.evaluation.html_report import STYLE

    assert Path(STYLE).is_file()
