import json
import shutil

import numpy as np
import onnx
import pytest
from safetensors.torch import load_file, save_file

from compact_labse import load
from compact_labse.cli import main
from compact_labse.errors import GateError, UserError
from compact_labse.folder import model_hash, read_lineage, sha256_file
from compact_labse.formats.onnx import graph as onnx_graph
from compact_labse.pipelines import load_pipeline
from compact_labse.students.static import in_bits

PIPELINE = load_pipeline("export", "onnx_export")


def export(**config):
    return PIPELINE.run(PIPELINE.OnnxExport(**config))


@pytest.fixture
def transformer(traced, tmp_path, monkeypatch):
    """A copy of the tiny transformer, and its graph traced once for all tests."""
    folder, model = traced
    monkeypatch.setattr(onnx_graph, "trace", lambda module, spill=None: model)
    return shutil.copytree(folder, tmp_path / "model")


@pytest.fixture
def static(tiny_copy):
    return tiny_copy("static")


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "expected.json")


def test_an_export_lies_beside_its_model_with_what_was_measured(transformer):
    before = model_hash(transformer)
    folder = export(model=str(transformer), formats=("fp32", "int8", "int4"))
    assert folder == transformer / "onnx"
    assert files(folder) == ["model.onnx", "model_int4.onnx", "model_int8.onnx", "parity.json"]
    assert model_hash(transformer) == before
    entries = json.loads((folder / "parity.json").read_text())["artifacts"]
    assert set(entries) == {"model.onnx", "model_int8.onnx", "model_int4.onnx"}
    entry = entries["model_int8.onnx"]
    assert entry["recipe"] == "rows"
    assert entry["passed"] is entry["batch_invariant"] is True
    assert entry["source"] == before
    assert entry["sha256"]["model_int8.onnx"] == sha256_file(folder / "model_int8.onnx")
    assert entry["figures"]["worst_cosine"]["value"] > entry["limits"]["worst_cosine"]
    assert {"en", "th", "ar", "hard"} <= set(entry["languages"])
    assert entry["languages"]["th"]["neighbours"] > 0.9
    assert [path.name for path in transformer.parent.iterdir()] == ["model"]  # nothing temporary is left


def test_what_load_opens_is_the_source_in_few_bits(transformer):
    export(model=str(transformer), formats=("int8", "int4"))
    source, texts = load(transformer), ["Guten Morgen", "", "The train leaves at nine."]
    for file, least in (("model_int8.onnx", 0.995), ("model_int4.onnx", 0.95)):
        encoder = load(transformer, file=f"onnx/{file}")
        assert (encoder.encode(texts) * source.encode(texts)).sum(1).min() > least
    assert encoder.facts.dtype == "int4"
    assert encoder.facts.source == model_hash(transformer)
    assert encoder.facts.languages.split(",")[0] == "en"


def test_a_second_export_keeps_the_first_and_replaces_its_own(static):
    folder = export(model=str(static), formats=("fp32", "int8"))
    first = sha256_file(folder / "model.onnx")
    export(model=str(static), formats=("int8",), loosen={"worst_cosine": 0.5}, reason="a trial")
    entries = json.loads((folder / "parity.json").read_text())["artifacts"]
    assert sha256_file(folder / "model.onnx") == first == entries["model.onnx"]["sha256"]["model.onnx"]
    assert entries["model_int8.onnx"]["loosened"] == {"worst_cosine": 0.5}
    assert entries["model_int8.onnx"]["reason"] == "a trial"
    assert "loosened" not in entries["model.onnx"]


def test_an_export_elsewhere_is_complete_without_weights(static, tmp_path):
    out = tmp_path / "out"
    export(model=str(static), formats=("int8",), out=out)
    assert {"tokenizer.json", "modules.json", "lineage.json", "onnx"} <= set(files(out))
    assert not list(out.rglob("*.safetensors"))
    assert read_lineage(out)["config"]["formats"] == ["int8"]
    assert read_lineage(out)["inputs"] == {str(static): model_hash(static)}
    small, large = ((folder / "tokenizer.json").read_text("utf-8") for folder in (out, static))
    # a template of special tokens, which a bag of tokens does not use, would mislead other readers
    assert json.loads(small) == json.loads(large) | {"post_processor": None}
    assert len(small) < 0.8 * len(large)
    moved = shutil.move(out, tmp_path / "moved")
    assert load(moved).encode(["Guten Morgen"]).shape == (1, 16)


def test_a_damaged_graph_gets_no_name_and_leaves_nothing_behind(static, monkeypatch, capsys):
    sound = onnx_graph.static_graph

    def damaged(table):
        return sound(np.where(np.arange(len(table))[:, None] % 3 == 0, -table, table))

    monkeypatch.setattr(onnx_graph, "static_graph", damaged)
    with pytest.raises(
        GateError, match=r"model\.onnx was not written, \d gates failed: .*worst_cosine is -?[01].* in '"
    ):
        export(model=str(static))
    assert not (static / "onnx").exists()
    assert main(["export", str(static), "--onnx"]) == 3
    assert "error: model.onnx was not written" in capsys.readouterr().err


def test_a_failed_export_leaves_the_earlier_one_as_it_was(static, monkeypatch):
    folder = export(model=str(static), formats=("int8",))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(onnx_graph, "static_graph", lambda table, sound=onnx_graph.static_graph: sound(-table))
    with pytest.raises(GateError):
        export(model=str(static), formats=("fp32", "int8"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_dynamic_int8_is_caught_by_the_gate_and_written_only_when_asked_for(transformer):
    with pytest.raises(
        GateError, match=r"model_int8_dynamic\.onnx was not written, it is not batch-invariant: invariance"
    ):
        export(model=str(transformer), formats=("int8-dynamic",))
    assert not (transformer / "onnx").exists()
    folder = export(model=str(transformer), formats=("int8-dynamic",), allow_batch_variant=True)
    entry = json.loads((folder / "parity.json").read_text())["artifacts"]["model_int8_dynamic.onnx"]
    assert entry["batch_invariant"] is False
    assert entry["loosened"] == {"invariance": 0.0}
    assert entry["reason"] == "--allow-batch-variant"
    assert load(transformer, file="onnx/model_int8_dynamic.onnx").facts.batch_invariant is False


def test_the_fastest_recipe_that_passes_on_calibration_text_is_taken(transformer, monkeypatch, capsys):
    from compact_labse.formats.onnx import linear as onnx_linear
    from compact_labse.formats.onnx import quantize as onnx_quantize

    def noisy(edit, plans):
        for linear in edit.linears():
            weight = edit.array(linear.weight)
            name = edit.constant(
                f"{linear.weight}_noisy", weight + np.random.default_rng(0).normal(size=weight.shape).astype(np.float32)
            )
            linear.node.input[1] = name

    monkeypatch.setitem(onnx_quantize._LINEAR, "rows", noisy)
    monkeypatch.setitem(onnx_quantize._LINEAR, "blocks-128", lambda edit, plans: onnx_linear.blocks(edit, 16))
    folder = export(model=str(transformer), formats=("int8",))
    assert json.loads((folder / "parity.json").read_text())["artifacts"]["model_int8.onnx"]["recipe"] != "rows"
    assert "recipe rows is not enough on calibration text" in capsys.readouterr().err


def test_a_recipe_can_be_named(transformer):
    folder = export(model=str(transformer), formats=("int8",), recipe="blocks-32")
    kinds = {node.op_type for node in onnx.load(folder / "model_int8.onnx").graph.node}
    assert "MatMulNBits" in kinds
    with pytest.raises(UserError, match="unknown recipe 'fast', expected one of rows"):
        export(model=str(transformer), formats=("int8",), recipe="fast")


def test_a_table_has_nothing_to_quantize_dynamically(static):
    with pytest.raises(UserError, match="a table without linear layers: there is nothing for --int8-dynamic to do"):
        export(model=str(static), formats=("int8-dynamic",), allow_batch_variant=True)


def test_an_installed_model_needs_a_folder_to_write_to(static, tmp_path):
    installed = shutil.copytree(static, tmp_path / "site-packages" / "model")
    with pytest.raises(UserError, match=r"lies among installed packages .*: name a folder to write, --out DIR"):
        export(model=str(installed))


def test_a_folder_that_is_taken_is_kept_unless_told_otherwise(static, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    with pytest.raises(UserError, match="exists and is not empty"):
        export(model=str(static), out=out)
    with pytest.raises(UserError, match="is no model folder"):
        export(model=str(static), out=out, overwrite=True)
    assert (out / "mine.txt").read_text() == "kept"
    export(model=str(static), out=tmp_path / "new")
    export(model=str(static), out=tmp_path / "new", overwrite=True)
    assert (tmp_path / "new" / "onnx" / "model.onnx").is_file()
    with pytest.raises(UserError, match="--out is the model's own folder"):
        export(model=str(static), out=static, overwrite=True)


def test_an_export_is_no_source(static, tmp_path):
    export(model=str(static), out=tmp_path / "out")
    with pytest.raises(UserError, match="is an export itself: name the model that it was made from"):
        export(model=str(tmp_path / "out"))


def test_loosening_needs_a_reason_and_a_gate(static, capsys):
    with pytest.raises(UserError, match="only for a reason, which is recorded: --reason TEXT"):
        PIPELINE.OnnxExport(model="m", loosen={"worst_cosine": 0.5})
    with pytest.raises(UserError, match="unknown ONNX format 'fp7', expected some of fp32, fp16, int8"):
        PIPELINE.OnnxExport(model="m", formats=("fp7",))
    for words, message in (
        (
            ["--onnx", "--loosen", "worst_cosine", "--reason", "x"],
            "--loosen takes GATE=VALUE such as worst_cosine=0.97, got 'worst_cosine'",
        ),
        (["--onnx", "--loosen", "speed=1", "--reason", "x"], "unknown gate 'speed'"),
        ([], "name the runtime to export for: --onnx, --tflite, --saved-model, or several"),
    ):
        assert main(["export", str(static), *words]) == 2
        assert message in capsys.readouterr().err


def test_the_command_writes_what_its_flags_name(static, capsys):
    assert main(["export", str(static), "--onnx", "--int8", "--int4"]) == 0
    assert files(static / "onnx") == ["model_int4.onnx", "model_int8.onnx", "parity.json"]
    assert "worst cosine 0.9999" in capsys.readouterr().err
    assert main(["export", str(static), "--onnx"]) == 0
    assert "model.onnx" in files(static / "onnx")


def test_a_model_that_only_transformers_can_tokenize_gets_a_tokenizer_json(static, tmp_path):
    """A folder with its tokenizer in a module's folder, as newer versions of sentence-transformers write it."""
    body = static / "0_StaticEmbedding"
    body.mkdir()
    for name in ("tokenizer.json", "model.safetensors"):
        (static / name).rename(body / name)
    modules = json.loads((static / "modules.json").read_text())
    modules[0]["path"] = body.name
    (static / "modules.json").write_text(json.dumps(modules))
    folder = export(model=str(static), formats=("int8",))
    assert (folder / "tokenizer.json").is_file()
    assert load(static, file="onnx/model_int8.onnx").encode(["Guten Morgen"]).shape == (1, 16)


def test_everything_that_suits_a_model_is_written_and_the_rest_is_named(tiny_copy, capsys):
    from tests.tiny_models import write_static

    model = write_static(tiny_copy("static").parent / "odd", dim=15)
    with pytest.raises(UserError, match="a table of 4 bits needs a dimension that 2 divides, this one has 15"):
        export(model=str(model), formats=("fp32", "int4"))
    assert not (model / "onnx").exists()
    assert main(["export", str(model), "--onnx", "--all"]) == 0
    names = ["model", "model_fp16", "model_int8"]
    assert files(model / "onnx") == sorted(
        ["model_quantized.onnx", "parity.json"]
        + [f"{name}.{suffix}" for name in names for suffix in ("onnx", "ort", "required_operators.config")]
    )
    assert "int4: skipped, a table of 4 bits needs" in capsys.readouterr().err


def test_peers_find_their_names_without_a_second_copy_on_disk(static):
    folder = export(model=str(static), formats=("int8", "int4"), aliases=True)
    for name, other in (("model_int8.onnx", "model_quantized.onnx"), ("model_int4.onnx", "model_q4.onnx")):
        assert (folder / name).samefile(folder / other)
        entries = json.loads((folder / "parity.json").read_text())["artifacts"]
        assert entries[other]["same_as"] == name
        assert entries[other]["sha256"][other] == entries[name]["sha256"][name]
    assert load(static, file="onnx/model_quantized.onnx").facts.dtype == "int8"
    export(model=str(static), formats=("int8",), external_data=False)  # an earlier alias follows its artifact
    assert (folder / "model_int8.onnx").samefile(folder / "model_quantized.onnx")


def test_an_alias_needs_one_file(static, monkeypatch):
    from compact_labse.formats.onnx import weights as onnx_weights

    monkeypatch.setattr(onnx_weights, "LARGE", 100)
    with pytest.raises(UserError, match="has its weights in a second file"):
        export(model=str(static), formats=("int8",), external_data=True, aliases=True)
    assert not (static / "onnx").exists()


def test_ort_files_for_phones_hold_the_same_model_and_name_their_operators(transformer):
    folder = export(model=str(transformer), formats=("int8",), ort=True)
    operators = (folder / "model_int8.required_operators.config").read_text()
    assert "MatMulIntegerToFloat" in operators
    assert str(transformer.parent) not in operators
    texts = ["Guten Morgen", "", "The train leaves at nine."]
    vectors = [load(transformer, file=f"onnx/model_int8.{kind}").encode(texts) for kind in ("onnx", "ort")]
    assert abs(vectors[0] - vectors[1]).max() < 1e-5
    assert json.loads((folder / "parity.json").read_text())["artifacts"]["model_int8.ort"]["passed"] is True


def test_a_damaged_ort_file_fails_its_gates(static, monkeypatch):
    """The conversion optimizes the graph once more: what it makes is held to the gates like everything else."""
    from compact_labse.formats.onnx import variants as onnx_variants

    sound, module = onnx_variants.to_ort, PIPELINE

    def damaged(path):
        other = path.with_name("other.onnx")
        graph = onnx_graph.static_graph(np.random.default_rng(0).normal(size=(load(static).tokens.vocab_size, 16)))
        graph.metadata_props.extend(onnx.load(path).metadata_props)
        onnx.save(graph, other)
        sound(other).rename(path.with_suffix(".ort"))
        return path.with_suffix(".ort")

    monkeypatch.setattr(module, "to_ort", damaged)
    with pytest.raises(GateError, match=r"model\.ort was not written, \d gates failed: .*worst_cosine"):
        export(model=str(static), ort=True)
    assert not (static / "onnx").exists()


def test_fixed_ranges_are_written_where_they_pass(transformer):
    folder = export(
        model=str(transformer),
        formats=("int8-static",),
        loosen={"worst_cosine": 0.5, "language_cosine": 0.9, "neighbours": 0.5, "language_neighbours": 0.3},
        reason="a tiny random model",
    )
    kinds = {node.op_type for node in onnx.load(folder / "model_int8_static.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    entry = json.loads((folder / "parity.json").read_text())["artifacts"]["model_int8_static.onnx"]
    assert entry["recipe"] == "static" and entry["batch_invariant"] is True


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("point", ["add_entry", "alias", "to_ort", "judge", "note_expected", "write_lineage"])
def test_wherever_an_export_fails_nothing_new_has_a_final_name(static, tmp_path, monkeypatch, point, inside):
    """As `git status` would see it: the same paths with the same bytes before and after."""
    if inside:
        export(model=str(static), formats=("int8",), aliases=True)

    def fails(*args, **settings):
        raise OSError("half way")

    def listing():
        return {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}

    before = listing()
    monkeypatch.setattr(PIPELINE, point, fails)
    out = None if inside and point != "write_lineage" else tmp_path / "out"
    with pytest.raises(OSError, match="half way"):
        export(model=str(static), formats=("fp32", "int8"), aliases=True, ort=True, out=out)
    assert listing() == before


def test_two_bits_hold_a_table_that_was_trained_for_them_and_no_other(static):
    with pytest.raises(GateError, match="the limit is"):
        export(model=str(static), formats=("int2",))
    weights = load_file(static / "model.safetensors")
    save_file({name: in_bits(table, 2) for name, table in weights.items()}, static / "model.safetensors")
    folder = export(model=str(static), formats=("int2",))
    entry = json.loads((folder / "parity.json").read_text())["artifacts"]["model_int2.onnx"]
    assert entry["figures"]["worst_cosine"]["value"] > 0.9999
