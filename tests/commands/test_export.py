"""`compact-labse export`: which formats of which runtime its words name. The pipelines have tests of their own."""

from types import SimpleNamespace

import pytest

from compact_labse import pipelines
from compact_labse.cli import main


@pytest.fixture
def asked(monkeypatch):
    """What the pipelines were asked for, in order: pairs of runtime and settings."""
    calls = []

    def pipeline(kind, name):
        runtime = name.removesuffix("_export")
        config = lambda **settings: (runtime, settings)  # noqa: E731
        return SimpleNamespace(OnnxExport=config, TFLiteExport=config, SavedModelExport=config, run=calls.append)

    monkeypatch.setattr(pipelines, "load_pipeline", pipeline)
    return calls


def test_every_runtime_gets_the_formats_that_it_has(asked, capsys):
    assert main(["export", "m", "--onnx", "--tflite", "--saved-model", "--fp32", "--int3", "--out", "d"]) == 0
    assert [runtime for runtime, _ in asked] == ["onnx", "tflite", "saved_model"]
    assert [settings.get("formats") for _, settings in asked] == [("fp32", "int3"), ("fp32",), None]
    assert {str(settings["out"]) for _, settings in asked} == {"d"}
    assert "LiteRT has no int3: skipped there" in capsys.readouterr().err


def test_float32_is_what_is_written_if_nothing_is_asked_for(asked):
    assert main(["export", "m", "--tflite", "--onnx"]) == 0
    assert [settings["formats"] for _, settings in asked] == [("fp32",), ("fp32",)]
    assert not asked[0][1]["skip_unsuitable"]


def test_all_names_every_format_worth_having_and_more_on_request(asked):
    assert main(["export", "m", "--onnx", "--tflite", "--all"]) == 0
    assert asked[0][1]["formats"] == ("fp32", "fp16", "int8", "int4", "int3")
    assert asked[0][1]["skip_unsuitable"]
    assert asked[1][1]["formats"] == ("fp32", "fp16", "int8", "int4")
    assert main(["export", "m", "--onnx", "--all", "--int8-static"]) == 0
    assert asked[2][1]["formats"] == ("fp32", "fp16", "int8", "int4", "int3", "int8-static")


def test_gates_go_to_the_runtimes_that_have_them(asked):
    words = ["--onnx", "--saved-model", "--loosen", "tokens=0.9", "--loosen", "neighbours=0.9", "--reason", "x"]
    assert main(["export", "m", *words]) == 0
    assert [settings["loosen"] for _, settings in asked] == [{"neighbours": 0.9}, {"neighbours": 0.9, "tokens": 0.9}]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the runtime to export for: --onnx, --tflite, --saved-model, or several"),
        (["--tflite", "--int3"], "--tflite has no int3; it has fp32, fp16, int8, int8-static, int4"),
        (["--saved-model", "--int8"], "SavedModels are float32 only: leave out --int8"),
        (["--onnx", "--loosen", "worst_cosin=0.5", "--reason", "x"], "unknown gate 'worst_cosin', expected one of"),
        (
            ["--onnx", "--loosen", "tokens=0.5", "--reason", "x"],
            "the gate tokens can only be lowered for --saved-model",
        ),
        (["--onnx", "--loosen", "worst_cosine=0.5"], "only for a reason, which is recorded: --reason TEXT"),
        (["--onnx", "--loosen", "worst_cosine", "--reason", "x"], "--loosen takes GATE=VALUE such as"),
    ],
)
def test_mistakes_are_sentences_and_nothing_is_started(asked, capsys, words, message):
    assert main(["export", "m", *words]) == 2
    assert message in capsys.readouterr().err
    assert asked == []


def test_help_groups_the_options_and_says_the_defaults(capsys):
    assert main(["export", "--help"]) == 0
    text = capsys.readouterr().out
    for words in ("runtimes (at least one)", "formats (default: --fp32)", "example:", "(default: refuse)"):
        assert words in text
