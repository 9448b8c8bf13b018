import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from plurality.encoders.checkpoint import SentenceSettings, content, locate, sentence_settings
from plurality.errors import InputError, InputWarning

PREFIX = "sentence_transformers.models."


def sentence_folder(folder, kinds, pooling=None, limits=None):
    modules = [{"idx": i, "path": "", "type": PREFIX + kind} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    if limits is not None:
        (folder / "sentence_bert_config.json").write_text(json.dumps(limits))
    return folder


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, "mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_lasttoken": True, "word_embedding_dimension": 8}, "last"),
        ({"pooling_mode": "mean", "embedding_dimension": 8}, "mean"),
        ({"pooling_mode": "cls"}, "first"),
    ],
)
def test_both_forms_of_the_pooling_configuration_are_read(tmp_path, config, pooling):
    folder = sentence_folder(tmp_path, ["Transformer", "Pooling"], config, {"max_seq_length": 99})
    assert sentence_settings(folder) == SentenceSettings(pooling, False, 99)


def test_vectors_are_normalised_only_where_a_module_says_so(tmp_path):
    mean = {"pooling_mode_mean_tokens": True}
    folder = sentence_folder(tmp_path, ["Transformer", "Pooling", "Normalize"], mean)
    assert sentence_settings(folder) == SentenceSettings("mean", True, None)
    (folder / "modules.json").unlink()
    assert sentence_settings(folder) == SentenceSettings(None, False, None)


@pytest.mark.parametrize("config", [{"pooling_mode_max_tokens": True}, {"pooling_mode": ["mean", "cls"]}, {}])
def test_an_unknown_pooling_is_an_error_unless_another_is_named(tmp_path, config):
    folder = sentence_folder(tmp_path, ["Transformer", "Pooling"], config)
    with pytest.raises(InputError, match=r"1_Pooling.*unknown here: set pooling="):
        sentence_settings(folder)
    assert sentence_settings(folder, "mean").pooling == "mean"


def test_modules_that_are_not_applied_are_named(tmp_path):
    folder = sentence_folder(tmp_path, ["Transformer", "Pooling", "Dense"], {"pooling_mode": "mean"})
    with pytest.warns(InputWarning, match="modules Dense are not applied"):
        sentence_settings(folder)


def test_damaged_settings_are_named(tmp_path):
    (tmp_path / "modules.json").write_text("[{")
    with pytest.raises(InputError, match=r"modules\.json is damaged"):
        sentence_settings(tmp_path)


def test_content_is_the_digest_of_what_matters(tmp_path):
    save_file({"a": np.ones(3)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "README.md").write_text("nothing")
    weights = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert content(tmp_path) == {
        "config.json": hashlib.sha256(b"{}").hexdigest(),
        "model.safetensors": weights,
    }
    # the same size and header, other numbers
    save_file({"a": np.ones(3) * 2}, tmp_path / "model.safetensors")
    assert content(tmp_path)["model.safetensors"] != weights


def test_the_hub_cache_names_large_files_by_their_digest(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    save_file({"a": np.ones(3)}, tmp_path / "weights")
    digest = hashlib.sha256((tmp_path / "weights").read_bytes()).hexdigest()
    (tmp_path / "weights").rename(tmp_path / "blobs" / digest)
    (tmp_path / "snapshot" / "model.safetensors").symlink_to(tmp_path / "blobs" / digest)
    assert content(tmp_path / "snapshot") == {"model.safetensors": digest}


def test_pickled_weights_are_an_error(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickled weights are not read"):
        content(tmp_path)


def test_a_local_folder_has_no_revision(tmp_path):
    assert locate(str(tmp_path), None) == (tmp_path.resolve(), None)
    with pytest.raises(InputError, match="is a local folder, revision='main'"):
        locate(str(tmp_path), "main")
    with pytest.raises(InputError, match=r"folder \./absent does not exist"):
        locate("./absent", None)


def test_what_the_hub_does_not_give_is_an_error_in_one_line(monkeypatch):
    import huggingface_hub

    def offline(name, **_):
        raise huggingface_hub.errors.LocalEntryNotFoundError("No route. Try\nagain")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(InputError) as error:
        locate("org/model", None)
    assert str(error.value) == (
        "model 'org/model' cannot be had from the hub (No route): give a local folder, "
        "run where the hub cache holds it (HF_HUB_OFFLINE=1), or use the encoder lsa"
    )
