"""What the page's plots, steps, heat maps and pictures are drawn from; `test_page_browser.py` looks at the drawing."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from compact_labse.measure.pages.page import html
from compact_labse.measure.pages.page_data import dtype_label, embedded, plot_data, space_data
from compact_labse.measure.pages.page_heat import heat_map
from compact_labse.measure.pages.page_steps import steps, waterfall
from compact_labse.measure.pages.summary import summarise
from compact_labse.measure.speed.latency import Cell
from tests.measure.records import measured, model, retrieval, speed

TEACHER = model("teacher", "torch", 90e6)
FP32, INT8 = model("student", "torch", 60e6), {**model("int8", size=15e6), "dtype": "int8"}
TEXT = Cell(mode="text")


def test_axes_are_what_someone_has_and_points_hold_their_figures():
    records = [speed(TEACHER, 10, 0), speed(TEACHER, 10, 0, TEXT), retrieval(TEACHER, "pud", de=90.0)]
    found = plot_data(summarise([*records, retrieval(INT8, "pud", de=80.0), measured(INT8, "mining")]))
    axes = {axis["key"]: axis for axis in found["axes"]}
    assert axes["speed/1x20"]["low"]
    assert not axes["speed/text"]["low"]
    assert axes["mining/pud/f1"]["title"] == "pud mining F1"
    teacher, small = found["points"]
    assert teacher["values"]["size"] == 90
    assert teacher["values"]["speed/text"] == 100
    assert small["values"]["mining/pud/f1"] == 81
    assert "speed/text" not in small["values"]
    assert (small["runtime"], small["dtype"]) == ("onnxruntime", "int8")
    assert found["first"] == [["size", "pud/all/xx_en"], ["speed/text", "pud/all/xx_en"]]


def test_nothing_to_plot_is_no_plot():
    bare = model("bare", size=0)
    bare["tokenizer_bytes"] = 0
    assert plot_data(summarise([measured(bare, "batches")]))["first"] == []
    assert 'id="plots"' not in html(summarise([measured(bare, "batches")]))


@pytest.mark.parametrize(
    ("recorded", "dtype"),
    [
        ({"spec": "x/model_int4.onnx", "runtime": "onnxruntime"}, "int4"),
        ({"spec": "x/model.onnx", "runtime": "onnxruntime"}, "fp32"),
        ({"spec": "minilm", "runtime": "torch"}, "fp32"),
        ({"spec": "default", "runtime": "onnxruntime"}, "unknown"),
        ({"spec": "default", "runtime": "onnxruntime", "dtype": "int4"}, "int4"),
    ],
)
def test_number_types_of_old_records_are_read_from_names_or_not_claimed(recorded: dict[str, str], dtype: str):
    assert dtype_label(recorded) == dtype


def test_embedded_data_cannot_close_its_element():
    text = embedded({"label": "</script><script>alert(1)</script>"})
    assert "<" not in text
    assert json.loads(text)["label"].startswith("</script>")


def test_steps_follow_the_lineage_and_else_the_order():
    derived = {**INT8, "made_from": ["hash of student", "hash of nobody"]}
    other = model("other", size=10e6)
    records = [speed(m, ms, n, TEXT) for m, ms in ((TEACHER, 10), (FP32, 2), (derived, 1)) for n in range(5)]
    records += [retrieval(TEACHER, "pud", de=95.0), retrieval(FP32, "pud", de=90.0), retrieval(derived, "pud", de=89.0)]
    found = steps(summarise([*records, retrieval(other, "pud", de=50.0)], [TEACHER, FP32, derived, other]))
    assert [(step.source.label, step.made.label, step.named) for step in found] == [
        ("teacher", "student", False),
        ("student", "int8", True),
        ("int8", "other", False),
    ]
    assert found[1].smaller == pytest.approx(4)
    assert found[1].faster == pytest.approx(2)
    assert found[1].points == pytest.approx(-1)
    assert found[2].faster is None


def test_exports_of_one_folder_are_steps_from_the_first_larger_one():
    exports = [{**model(name, size=size), "made_from": ["a"]} for name, size in (("f", 9e6), ("i8", 3e6), ("i4", 2e6))]
    stranger = {**model("stranger", size=1e6), "made_from": ["b"]}
    found = steps(summarise([retrieval(m, "pud", de=90.0) for m in (*exports, stranger)]))
    wanted = [("f", "i8", True), ("f", "i4", True), ("i4", "stranger", False)]
    assert [(step.source.label, step.made.label, step.named) for step in found] == wanted


def test_a_latency_that_falls_is_a_gain():
    records = [speed(m, ms, 0) for m, ms in ((TEACHER, 12.0), (INT8, 3.0))]
    assert steps(summarise(records))[0].faster == pytest.approx(4)


def test_a_larger_artifact_without_a_source_starts_anew():
    assert steps(summarise([retrieval(m, "pud", de=90.0) for m in (INT8, TEACHER)])) == []
    assert waterfall(summarise([retrieval(TEACHER, "pud", de=90.0)])) == ""


def test_the_waterfall_says_what_was_lost_and_what_it_is_relative_to():
    text = waterfall(summarise([retrieval(TEACHER, "pud", de=95.0), retrieval(INT8, "pud", de=93.0)]))
    assert "6.0× smaller" in text
    assert "−2.0 points" in text
    assert 'style="width:16.67%"></i><u style="width:83.33%"' in text
    assert "pud xx→en" in text
    assert "no lineage names the source" in text


def test_heat_maps_hold_every_measure_of_a_language_and_mark_the_unseen():
    records = [retrieval(INT8, "pud", untrained=("ko",), de=90.0, ko=40.0), measured(INT8, "mining")]
    text = heat_map("pud", summarise([*records, retrieval(TEACHER, "pud", de=80.0)]))
    assert re.findall(r"<option[^>]*>([^<]*)", text) == ["xx→en", "en→xx", "mining F1"]
    assert 'data-figures="40.0|39.0|76.0" class="unseen"' in text
    assert 'data-figures="80.0|79.0|"' in text
    assert "<td></td>" in text  # the teacher has no Korean


def test_pictures_come_from_the_data_set_that_most_have_and_turn_onto_the_first():
    records = [measured(TEACHER, "space"), measured(INT8, "space"), measured(INT8, "space", "tatoeba")]
    records += [retrieval(m, name, de=90.0) for m in (TEACHER, INT8) for name in ("tatoeba", "pud")]
    turned = records[1]["values"]["picture"]["pca"]
    records[1]["values"]["picture"]["pca"] = {code: [[-y, x] for x, y in side] for code, side in turned.items()}
    found = space_data(summarise(records))
    assert found is not None
    assert found["dataset"] == "pud"
    first, second = found["models"]
    one, two = (np.array([point for side in each["pca"].values() for point in side]) for each in (first, second))
    assert np.corrcoef(one[:, 0], two[:, 0])[0, 1] > 0.999
    assert np.corrcoef(one[:, 1], two[:, 1])[0, 1] > 0.999
    flat = [value for model in (first, second) for side in model["pca"].values() for point in side for value in point]
    assert max(map(abs, flat)) <= 1000
    assert first["separated"]["ko"] == 94
    assert space_data(summarise(records[3:])) is None


def test_nearly_the_same_size_is_not_called_larger():
    """A card said "1.0× larger"."""
    rows = [speed(model(label, size=size), 5, 0) for label, size in (("a", 22_900_000), ("b", 23_100_000), ("c", 46e6))]
    text = html(summarise(rows))
    assert "<b>same</b><span>size</span><small>23.1 MB" in text
    assert "<b>2.0×</b><span>larger</span>" in text
    assert "<b>1.0×</b><span>larger</span>" not in text
