"""The card of a model: metadata that the hub's own library reads back, and nobody's name."""

from dataclasses import replace
from types import SimpleNamespace

import huggingface_hub
import numpy as np
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.datasets.simulated import populations as planted
from plurality.models import PAL
from plurality.reward.model_card import CardDetails, Place, model_card
from plurality.reward.reward_model import load

NAMES = [f"jane-{i}" for i in range(15)]


@pytest.fixture(scope="module")
def model():
    seen, _ = planted.pal(15, prototypes=2, width=6, preference=2, seed=0)
    return PAL(n_prototypes=2, preference=3, decay=3.0).fit(seen.sample(12, seed=1).data.with_users(NAMES))


def read(text):
    return huggingface_hub.ModelCard(text)  # parses the front matter with its own YAML and ModelCardData


def encoder(**about):
    return SimpleNamespace(describe=lambda: about)


def test_front_matter(model):
    data = read(model_card(model, CardDetails(license="apache-2.0"))).data
    assert data.to_dict()["library_name"] == "plurality"
    assert data.pipeline_tag == "text-classification"
    assert data.license == "apache-2.0"
    assert {"reward-model", "pal"} <= set(data.tags)
    assert huggingface_hub.ModelCardData(**data.to_dict()).to_dict() == data.to_dict()
    assert read(model_card(model)).data.license is None


@pytest.mark.parametrize("license", ["no", "null", "1.0", "a: b", '"', "# c", "- x", "ünï\ncode", "[a]", "true"])
def test_front_matter_keeps_any_text(model, license):
    assert read(model_card(model, CardDetails(license=license))).data.license == license


def test_a_published_backbone_is_its_base_model(model):
    public = replace(
        model, encoder=encoder(kind="transformers", name="org/bert", revision="abc", template="completion")
    )
    local = replace(model, encoder=encoder(kind="transformers", name="/srv/jane/bert", revision=None))
    assert read(model_card(public)).data.base_model == "org/bert"
    assert read(model_card(local)).data.base_model is None
    assert "jane" not in model_card(local)


def test_what_it_says(model):
    text = model_card(model, CardDetails(data="Answers to <b>polls</b>,\n# 2020."))
    for part in ("# PAL reward model", "`n_prototypes=2`", "users it knows: 15", "comparisons: 180; of one of them, "
                 "median 12", "Answers to &lt;b>polls&lt;/b>, # 2020.", "user ids as they were given",
                 'pl8.load("path/to/this/folder")', "Not measured for this card"):  # fmt: skip
        assert part in text
    hashed = model_card(model, place=Place("org/reward", hashed=True))
    assert "keyed hashes" in hashed
    assert 'pl8.load("org/reward")' in hashed


def test_nobody_is_named_and_few_are_not_counted(model):
    few = replace(
        model, user_ids=tuple(NAMES[:4]), posterior=model.posterior.of(slice(4)), n_comparisons=np.array([7] * 4)
    )
    assert "jane" not in model_card(model) + model_card(few)
    assert "users it knows: fewer than 10" in model_card(few)
    assert "comparisons:" not in model_card(few)


def test_levels_of_demographics_stay_out(model):
    factors = (("country", (("Liechtenstein",),), (0.1,), 1.0),)
    pal = replace(model.spec)
    object.__setattr__(pal, "unit", factors)  # any setting that holds more than plain values
    assert "Liechtenstein" not in model_card(replace(model, spec=pal)).partition("## Data")[0]


def test_controls(model):
    lines = [("pal", False, 0.7), ("pal · population code", True, 0.65), ("pal · another user's code", True, 0.6),
             ("pal · shuffled users", True, 0.5), ("bradley_terry", False, 0.66)]  # fmt: skip
    table = pl.DataFrame(
        [
            {"model": m, "control": c, "cell": f"{who} user, unseen prompt", "metric": "accuracy", "n_users": n,
             "estimate": e, "lo": e - 0.02, "hi": e + 0.02}
            for who, n in (("seen", 12), ("unseen", 3))
            for m, c, e in lines
        ]
    )  # fmt: skip
    result = SimpleNamespace(table=table, verdict=["pal, seen user | unseen prompt: a gain."])
    text = model_card(model, CardDetails(comparison=result))
    assert "| seen user, unseen prompt | pal | 0.700 [0.680, 0.720] | 0.650 | 0.600 | 0.500 | 12 |" in text
    assert "| unseen user, unseen prompt | pal | 0.700 [0.680, 0.720] | 0.650 | 0.600 | 0.500 | fewer than 10 |" in text
    assert text.count("| bradley_terry |") == 2
    assert "| pal · " not in text
    assert "- pal, seen user | unseen prompt: a gain." in text


def test_the_card_is_part_of_the_folder(model, tmp_path):
    folder = model.save_pretrained(tmp_path / "m", card=CardDetails(license="mit"))
    assert read((folder / "README.md").read_text(encoding="utf-8")).data.license == "mit"
    load(folder).save_pretrained(folder)
    assert read((folder / "README.md").read_text(encoding="utf-8")).data.license is None
    (folder / "README.md").unlink()
    assert load(folder).user_ids == model.user_ids  # older folders have none


@pytest.fixture(scope="module")
def audited():
    """An audit with groups of 25 and 15 people, and one of 5, which is withheld."""
    rng = np.random.default_rng(0)
    ids = [f"jane-{k}" for k in range(45)]
    age = ["<b>old</b>: # 'x'"] * 25 + ["young"] * 15 + ["secret"] * 5
    predictions = pl.DataFrame({"user_id": ids * 8, "prob_first": rng.uniform(0.2, 0.9, 360)})
    predictions = predictions.with_columns(label=pl.Series(rng.integers(0, 2, 360)))
    return audit(predictions, {"user_id": ids, "age": age}, n_bootstrap=50)


def test_the_hub_reads_results_by_group(model, audited):
    data = read(model_card(model, CardDetails(audit=audited), Place(repo_id="org/reward"))).data
    assert data.model_name == "org/reward"
    found = {(r.dataset_config, r.metric_type): r for r in data.eval_results}
    shown = audited.table.filter(~pl.col("suppressed"), provenance="observed").filter(
        pl.col("metric").is_in(["accuracy", "log_loss", "brier", "ece"])
    )
    assert len(found) == shown.height
    for row in shown.iter_rows(named=True):
        group = "all users" if row["attribute"] == "(overall)" else f"age: {row['level']}"
        result = found[group, row["metric"]]
        assert result.metric_value == pytest.approx(row["estimate"], rel=1e-5)
        assert result.metric_args["n_users"] == row["n_users"]
        assert result.metric_args["lo"] == pytest.approx(row["lo"], rel=1e-5, abs=1e-9)
    again = huggingface_hub.ModelCardData(model_name=data.model_name, eval_results=data.eval_results)
    assert len(again.to_dict()["model-index"][0]["results"]) == len({group for group, _ in found})


def test_a_card_tells_of_groups_and_of_none_that_is_withheld(model, audited):
    text = model_card(model, CardDetails(audit=audited))
    assert "## Whom it serves" in text
    assert "| age: &lt;b>old&lt;/b>: # 'x' |" in text
    assert "age: secret" not in text
    assert not any(name in text for name in audited.users["user_id"])
    assert "Whom it serves" not in model_card(model)
    assert read(model_card(model)).data.eval_results is None
