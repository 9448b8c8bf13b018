"""The package's face: create and load."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from plurality import encoders
from plurality.encoders import Encoder, Lsa, LsaSpec, TransformersEncoder, TransformersSpec
from plurality.errors import InputError, InputWarning

TEXTS = [f"common word{i % 7} and word{i % 5}" for i in range(40)]
CORPUS = ([""] * len(TEXTS), TEXTS)


def forbidden():
    raise AssertionError("the corpus was asked for")


def test_lsa_is_fitted_on_the_corpus_or_what_gives_it():
    one = encoders.create(LsaSpec(dim=4), CORPUS, seed=3)
    other = encoders.create(LsaSpec(dim=4), lambda: CORPUS, seed=3)
    assert isinstance(one, Lsa)
    assert one.fingerprint == other.fingerprint == LsaSpec(dim=4).fit(CORPUS, seed=3).fingerprint
    assert isinstance(one, Encoder)


def test_the_word_lsa_takes_the_default_settings():
    with pytest.warns(InputWarning, match="dim=256 was asked"):
        made = encoders.create("lsa", CORPUS)
    assert made.spec == LsaSpec()


def test_a_saved_folder_a_model_folder_and_an_encoder_stand_for_encoders(llama, tmp_path):
    fitted = LsaSpec(dim=4).fit(CORPUS)
    fitted.save(tmp_path)
    for place in (tmp_path, str(tmp_path)):
        assert encoders.create(place, forbidden).fingerprint == fitted.fingerprint
    assert encoders.create(fitted, forbidden) is fitted
    folder = llama()
    made = encoders.create(folder, forbidden, cache=False)
    assert isinstance(made, TransformersEncoder)
    assert isinstance(made, Encoder)
    spec = TransformersSpec(str(folder))
    assert encoders.create(spec, forbidden, cache=False).fingerprint == made.fingerprint


def test_what_is_no_encoder_is_an_error():
    with pytest.raises(InputError, match="give it a corpus"):
        encoders.create("lsa")
    with pytest.raises(InputError, match="int is not an encoder"):
        encoders.create(3)


@pytest.mark.parametrize("make", ["lsa", "transformers"])
def test_every_encoder_keeps_the_contract(make, llama, tmp_path):
    made = LsaSpec(dim=4).fit(CORPUS) if make == "lsa" else encoders.create(llama(), cache=False)
    described = json.loads(json.dumps(made.describe()))
    keys = ("kind", "name", "revision", "template", "pooling", "dtype", "max_length", "dim", "fingerprint")
    assert set(keys) <= set(described)
    assert described["dim"] == made.dim
    assert int(made.fingerprint, 16) >= 0
    assert len(made.fingerprint) == 64
    prompts = ["one", [{"role": "user", "content": "two"}]]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lsa: .* get a zero vector", InputWarning)
        found = (made.encode(prompts, TEXTS[:2]), made.encode_prompts(prompts))
    for x in found:
        assert x.shape == (2, made.dim)
        assert x.dtype == np.float32
    made.save(tmp_path)
    assert encoders.load(tmp_path).fingerprint == made.fingerprint


def test_a_kind_of_a_later_version_is_an_error(tmp_path):
    (tmp_path / "encoder.json").write_text('{"schema_version": 1, "kind": "quantum"}')
    with pytest.raises(InputError, match="kind='quantum', unknown to this version"):
        encoders.load(tmp_path)
    (tmp_path / "encoder.json").write_text('{"schema_version": 99, "kind": "lsa"}')
    with pytest.raises(InputError, match="upgrade plurality"):
        encoders.load(tmp_path)


def test_importing_encoders_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'sklearn', 'huggingface_hub', 'safetensors'}"
    code = f"import sys, plurality.encoders; print({heavy} & set(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "set()"
