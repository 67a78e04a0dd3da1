"""Model cards: the figures are those of the JSON, and nothing is claimed that is not known."""

import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from ceria_models.card import model_card
from ceria_models.card_tables import doses_of
from ceria_models.efficiency import Efficiency
from ceria_models.errors import EvaluationError, NotAModelError, TableError, WeightsError
from ceria_models.evaluation_record import Bound, CountTable, Evaluation, Figure
from ceria_models.finishing import measure_ranges
from ceria_models.model_evaluation import ModelEvaluation, collect_evaluations
from ceria_models.model_places import bundled_models
from ceria_models.weights import (
    attach_evaluation,
    card_of,
    from_pretrained,
    save_model,
    verify_model,
)
from tests.ceria_data.test_card import rows_after
from tests.ceria_models.make_model import fresh

CARDS = Path(__file__).parents[2] / "cards" / "models"
DOSES = (100.0, 300.0, 1000.0)


def figure(metric, species, dose, value, axis="all", label="all", unit=""):
    return Figure(
        axis=axis, label=label, dose_e_per_A2=dose, species=species, metric=metric, unit=unit,
        value=value, low=value - 0.01, high=value + 0.01, n=100,
    )  # fmt: skip


def evaluation(program="fresh", split="test", digest="c" * 64, **more):
    figures = [
        figure(metric, species, dose, 0.1 * rank + 0.01 * (species == "O") + dose / 1e5)
        for rank, metric in enumerate(("exact", "f1", "prior_exact", "calibration_error"), 1)
        for species in ("Ce", "O")
        for dose in DOSES
    ]
    for axis, labels in (
        ("defocus_A", ("-90 to -50", "-50 to -10")),
        ("thickness_atoms", ("3 to 4", "9 to 10")),
        ("mistilt_deg", ("0 to 0.25",)),
        ("surface", ("edge", "bulk")),
    ):
        figures += [
            figure("exact", "Ce", 300.0, 0.7 + 0.01 * n + 0.001 * len(axis), axis, label)
            for n, label in enumerate(labels)
        ]
    figures.append(figure("volume_iou", "both", 1000.0, 0.612345))
    figures.append(figure("position_rms", "Ce", 300.0, 12.3456, unit="pm"))
    tables = [
        CountTable(dose_e_per_A2=dose, species=species, confusion=[[0]], reliability=[])
        for dose in DOSES
        for species in ("Ce", "O")
    ]
    facts = {
        "program": program, "dataset": "data", "version": "1.2.0", "content_digest": digest,
        "split": split, "n_images": 50, "n_particles": 40, "figures": figures, "tables": tables,
        "efficiencies": [
            {"species": "O", "case": "inner", "efficiency": 0.4321, "low": 0.3, "high": 0.5,
             "pairs": 100, "right": 0.7, "best": 0.8}
        ],
        "notes": ["a rule | of scoring"],
    }  # fmt: skip
    return Evaluation(**(facts | more))


@pytest.fixture(scope="module")
def config():
    return fresh().config


def test_the_front_matter_is_what_the_hub_takes(config):
    measured = ModelEvaluation(own=[evaluation(), evaluation(split="test_tilt")])
    head = ModelCard(model_card(config, "a" * 64, measured)).data
    assert (head.license, head.library_name) == ("cc-by-4.0", "ceria")
    assert head.pipeline_tag == "image-segmentation"
    assert head.datasets is None
    assert head.model_name == "fresh"
    own = [one for one in head.eval_results if one.dataset_split == "test"]
    assert len(head.eval_results) == 2 * len(own)
    assert {one.dataset_name for one in own} == {"data 1.2.0"}
    assert own[0].dataset_args["content_digest"] == "c" * 64
    assert own[0].dataset_args["version"] == "1.2.0"
    shown = {one.metric_name: one.metric_value for one in own}
    primary = evaluation().primary()
    for name, value in primary.items():
        assert next(v for k, v in shown.items() if k.startswith(name)) == round(value, 4)
    for species in ("Ce", "O"):
        for dose in DOSES:
            figure = evaluation().figure("exact", species, dose)
            assert shown[f"{species} counts exact, {dose:g} e-/Å²"] == round(figure.value, 4)


def test_figures_on_the_card_are_those_of_the_json(config):
    bound = Bound(
        axis="all", label="all", dose_e_per_A2=300.0, species="Ce", n=33, ceiling=0.987,
        ceiling_error=0.01, prior=0.6, program=0.811, position_pm=3.0,
    )  # fmt: skip
    own = evaluation(bounds=[bound])
    baseline = evaluation("baseline", figures=[figure("exact", "Ce", 300.0, 0.1234)])
    text = model_card(config, "a" * 64, ModelEvaluation(own=[own], beside=[baseline]))
    lines = text[text.index("| species | who |") :].splitlines()
    counts = [tuple(c.strip() for c in line.strip("|").split("|")) for line in lines[2:10]]
    cells = {row[:2]: row[2:] for row in counts if len(row) == 5}
    for species in ("Ce", "O"):
        for metric, who in (("exact", "fresh"), ("prior_exact", "neighbours alone")):
            for dose, cell in zip(DOSES, cells[species, who], strict=True):
                one = own.figure(metric, species, dose)
                assert cell == f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"
    assert cells["Ce", "baseline"][0] == "–"
    assert cells["Ce", "baseline"][1].startswith("0.123 ")
    assert cells["Ce", "ceiling on 33 of the columns"] == ("–", "0.987", "–")
    assert cells["Ce", "this net on 33 of the columns"] == ("–", "0.811", "–")
    assert ("O", "baseline") not in cells
    value = own.primary()["count"]
    assert f"| data 1.2.0, test | fresh | {value:.3f} | 0.43 | 0.612 |" in text
    assert "| Ce | position, rms per axis [pm] | – | 12.3 (12.3 to 12.4) | – |" in text
    assert "a rule &#124; of scoring" in text


def test_pairs_at_fixed_doses_stand_beside_those_of_chosen_ones(config):
    pairs = [
        Efficiency("O", "inner", 0.3, 0.2, None, 90, 0.9, 0.94, 3000.0),
        Efficiency("O", "inner", 0.4321, 0.3, 0.5, 100, 0.7, 0.8),
    ]
    own = evaluation(efficiencies=pairs)
    text = model_card(config, "a" * 64, ModelEvaluation(own=[own]))
    lines = text[text.index("| species | atom | dose |") :].splitlines()[2:4]
    assert lines == [
        "| O | inner | chosen, d′ 1 to 2 | 0.43 (0.30 to 0.50) | 0.700 | 0.800 | 100 |",
        "| O | inner | 3000 e⁻/Å² | 0.30 (0.20 and more) | 0.900 | 0.940 | 90 |",
    ]
    row = text[text.index("| data 1.2.0, test | fresh |") :].splitlines()[0]
    assert row.split("|")[4].strip() == "0.43"


def test_other_pixels_are_other_images(config):
    fine = evaluation(settings={"pixel_size_A": 0.1, "dataset_pixel_size_A": 0.2})
    same = evaluation(settings={"pixel_size_A": 0.2, "dataset_pixel_size_A": 0.2})
    measured = ModelEvaluation(
        own=[evaluation(), fine],
        beside=[
            evaluation("other"),
        ],
    )
    assert [one.program for one in measured.beside_of(same)] == ["other"]
    assert measured.beside_of(fine) == []
    text = model_card(config, "a" * 64, measured)
    assert "### data 1.2.0, test, pixels of 0.1 Å\n" in text
    splits = {one.dataset_split for one in ModelCard(text).data.eval_results}
    assert splits == {"test", "test, pixels of 0.1 Å"}
    with pytest.raises(ValueError, match="two evaluations"):
        ModelEvaluation(own=[evaluation(), same])


def test_strata_with_one_part_only_are_left_out(config):
    text = model_card(config, "a" * 64, ModelEvaluation(own=[evaluation()]))
    lines = text[text.index("| part | range |") :].split("\n\n")[0].splitlines()[2:]
    parts = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    assert [part[1] for part in parts] == [
        "-90 to -50", "-50 to -10", "3 to 4", "9 to 10", "edge", "bulk"
    ]  # fmt: skip
    own = evaluation()
    for part, axis in zip(parts, ("defocus_A",) * 2 + ("thickness_atoms",) * 2 + ("surface",) * 2,
                          strict=True):  # fmt: skip
        one = own.figure("exact", "Ce", 300.0, axis=axis, label=part[1])
        assert part[2].startswith(f"{one.value:.3f} ")


def test_a_model_without_evaluation_says_so(config):
    text = model_card(config, "a" * 64)
    assert "No evaluation is attached to this model" in text
    head = ModelCard(text).data
    assert head.eval_results is None
    assert "model-index" not in text
    assert "hf.co" not in text
    assert "huggingface.co" not in text
    assert "\n\n\n" not in text


def test_identity_and_limits_are_those_of_the_config(config):
    text = model_card(config, "a" * 64)
    facts = rows_after(text, "| what | value |")
    assert facts["sha256 of `model.safetensors`"] == [f"`{'a' * 64}`"]
    assert facts["`content_digest` of the data"] == [f"`{config.training.content_digest}`"]
    assert facts["training data"] == ["ceria-columns-mini 1.0.0, split train"]
    assert "- Dose of one image 30 to 3000 e⁻/Å².\n" in text
    assert "seen along [110], lattice parameter 5.384 to 5.438 Å" in text
    assert "is not recorded in the model" in text


def test_what_the_training_images_had_is_listed(config):
    from ceria_data.dataset import open_dataset

    ranges = measure_ranges(open_dataset("ceria-columns-mini"))
    training = config.training.model_copy(update={"ranges": ranges})
    text = model_card(config.model_copy(update={"training": training}), "a" * 64)
    listed = rows_after(text, "| quantity | unit |")
    assert listed["`thickness_atoms`"][1] == "3 to 10"
    assert listed["`camera`"][1] == "counting"
    assert "Columns of at most 10 Ce and 10 O atoms" in text
    assert "is not recorded in the model" not in text


def test_foreign_text_stays_in_its_cell(config):
    strange = config.model_copy(update={"description": "Zähler für CeO₂ | <b>\n# größer"})
    measured = ModelEvaluation(own=[evaluation(dataset='CeO₂: "größer" #1')])
    text = model_card(strange, "a" * 64, measured)
    assert "\nZähler für CeO₂ &#124; &lt;b> # größer\n" in text
    results = ModelCard(text).data.eval_results
    assert results[0].dataset_name == 'CeO₂: "größer" #1 1.2.0'
    assert rows_after(text, "| dataset | version |")['CeO₂: "größer" #1'][0] == "1.2.0"


def test_a_saved_model_has_its_card_and_figures(tmp_path):
    folder = tmp_path / "net"
    save_model(fresh(), folder)
    assert (folder / "README.md").read_text("utf-8") == card_of(folder)
    assert "No evaluation is attached" in card_of(folder)
    measured = ModelEvaluation(own=[evaluation()])
    attach_evaluation(folder, measured)
    weights = json.loads((folder / "sha256.json").read_text())["model.safetensors"]
    expected = model_card(from_pretrained(folder).config, weights, measured)
    assert (folder / "README.md").read_text("utf-8") == expected == card_of(folder)
    verify_model(folder)
    other = tmp_path / "other"
    save_model(fresh(), other, measured)
    assert (other / "README.md").read_text("utf-8") == expected


def test_a_changed_figure_is_seen_and_a_note_on_the_card_is_not(tmp_path):
    folder = tmp_path / "net"
    save_model(fresh(), folder, ModelEvaluation(own=[evaluation()]))
    with (folder / "README.md").open("a") as stream:
        stream.write("\nA note.\n")
    (folder / "notes.txt").write_text("not of the model")
    from_pretrained(folder)
    figures = folder / "evaluation.json"
    figures.write_text(figures.read_text().replace("0.612345", "0.912345"))
    with pytest.raises(WeightsError, match=r"evaluation\.json differs"):
        from_pretrained(folder)
    figures.unlink()
    with pytest.raises(WeightsError, match=r"evaluation\.json differs"):
        from_pretrained(folder)


def test_figures_that_were_slipped_in_are_refused(tmp_path):
    folder = tmp_path / "net"
    save_model(fresh(), folder)
    ModelEvaluation(own=[evaluation()]).write(folder / "evaluation.json")
    with pytest.raises(WeightsError, match=r"evaluation\.json differs"):
        card_of(folder)


def test_evaluations_that_do_not_belong_together_are_refused(tmp_path):
    for name, one in {
        "own": evaluation(), "other": evaluation("baseline"),
        "elsewhere": evaluation("baseline", split="validation"),
    }.items():  # fmt: skip
        one.write(tmp_path / f"{name}.json")
    own, other, elsewhere = (tmp_path / f"{n}.json" for n in ("own", "other", "elsewhere"))
    assert len(collect_evaluations("fresh", [own, other]).beside) == 1
    with pytest.raises(EvaluationError, match="no evaluation of fresh among those given"):
        collect_evaluations("fresh", [other])
    with pytest.raises(EvaluationError, match="where the model was not"):
        collect_evaluations("fresh", [own, elsewhere])
    with pytest.raises(EvaluationError, match="two evaluations"):
        collect_evaluations("fresh", [own, own])
    with pytest.raises(TableError, match=r"evaluation\.json cannot be read"):
        collect_evaluations("fresh", [tmp_path])
    folder = tmp_path / "out"
    folder.mkdir()
    own.rename(folder / "evaluation.json")
    other.rename(folder / "baseline.json")
    assert collect_evaluations("fresh", [folder]).beside[0].program == "baseline"


def test_a_card_is_written_beside_the_model_or_elsewhere(tmp_path):
    from ceria_models.card_run import write_card

    folder = tmp_path / "net"
    save_model(fresh(), folder)
    evaluation().write(tmp_path / "found.json")
    write_card(str(folder), [tmp_path / "found.json"], tmp_path / "cards" / "one.md")
    assert not (folder / "evaluation.json").exists()
    write_card(str(folder), [tmp_path / "found.json"], None)
    assert (folder / "README.md").read_text() == (tmp_path / "cards" / "one.md").read_text()
    with pytest.raises(NotAModelError):
        write_card("no-such-net", [], None)


def test_the_example_on_the_card_runs(tmp_path):
    from ceria_data.dataset import open_dataset

    save_model(fresh(), tmp_path / "net")
    code = re.search(r"```python\n(.*?)```", card_of(tmp_path / "net"), re.S).group(1)
    names = {"image": open_dataset("ceria-columns-mini", "test")[0].counts}
    exec(code.replace('"MODEL"', repr(str(tmp_path / "net"))), names)
    assert len(names["found"].columns)


def test_every_bundled_model_has_its_card():
    """A card that was not written anew after a change of model, figures or template."""
    assert {file.stem for file in CARDS.glob("*.md")} == set(bundled_models())
    for name in bundled_models():
        file = CARDS / f"{name}.md"
        assert file.read_text("utf-8") == card_of(name), f"ceria-models card {name} --out {file}"


def test_doses_of_an_evaluation_keep_their_order():
    assert doses_of(evaluation()) == list(DOSES)


def test_a_model_gets_another_version(monkeypatch, capsys, tmp_path):
    from ceria_models.model_files import ONNX, read_checksums, write_checksums
    from tests.ceria_models.test_cli import run

    save_model(fresh(), tmp_path / "net", ModelEvaluation(own=[evaluation()]))
    (tmp_path / "net" / ONNX).write_bytes(b"of version 0.0.0")
    write_checksums(tmp_path / "net", onnx=True)
    code, _, err = run(monkeypatch, capsys, "card", tmp_path / "net", "--version", "1.1.0")
    assert code == 0, err
    assert verify_model(tmp_path / "net")["version"] == "1.1.0"
    assert ONNX not in read_checksums(tmp_path / "net")
    card = (tmp_path / "net" / "README.md").read_text()
    assert "# fresh 1.1.0\n" in card
    assert "| data | 1.2.0 | test |" in card
    for arguments in (["--version", "v1"], ["--version", "1.0.0", "--out", tmp_path / "card.md"]):
        code, _, err = run(monkeypatch, capsys, "card", tmp_path / "net", *arguments)
        assert code == 2
    assert verify_model(tmp_path / "net")["version"] == "1.1.0"
