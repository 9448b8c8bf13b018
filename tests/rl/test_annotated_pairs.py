"""Annotated pairs in TRL itself: its RewardTrainer takes the file and sees our margins."""

import warnings

import numpy as np
import polars as pl
import pytest
import torch

import plurality as pl8

pytest.importorskip("trl")


@pytest.fixture
def pairs(plant, letters):
    """ann likes a, bob likes b, and what is written of them."""
    like = np.zeros((2, letters.dim))
    like[:, :2] = [[1, -1], [-1, 1]]
    model = plant(letters, {"ann": like[0], "bob": like[1]}, like[0], width=letters.dim)
    rows = {"user_id": ["ann", "bob"] * 4, "prompt": ["b a", "a"] * 4}
    rows |= {"chosen": ["aa", "b", "ab a", "bb"] * 2, "rejected": ["b", "a", "b b", "a b a"] * 2}
    return model, rows


@pytest.mark.parametrize("chat", [False, True])
def test_trl_s_reward_trainer_reads_the_margin(pairs, letters, policy, tmp_path, chat):
    import trl
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, rows = pairs
    if chat:
        rows = {
            key: [[{"role": "user", "content": t}] for t in rows[key]] if key == "prompt" else rows[key] for key in rows
        }
        for side in ("chosen", "rejected"):
            rows[side] = [[{"role": "assistant", "content": text}] for text in rows[side]]
    made = pl8.annotate(model, pl8.read(rows, encoder=letters, repeats="keep"))
    made.write_parquet(tmp_path / "pairs.parquet")
    legacy = np.random.get_state()  # noqa: NPY002 - a trainer seeds every global generator
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scorer = AutoModelForSequenceClassification.from_pretrained(policy, num_labels=1)
        trainer = trl.RewardTrainer(
            model=scorer,
            args=trl.RewardConfig(
                output_dir=str(tmp_path / "run"),
                use_cpu=True,
                bf16=False,
                report_to="none",
                per_device_train_batch_size=8,
                gradient_checkpointing=False,
                save_strategy="no",
                disable_tqdm=True,
                max_steps=1,
            ),
            train_dataset=Dataset(pl.read_parquet(tmp_path / "pairs.parquet").to_arrow(compat_level=None)),
            processing_class=AutoTokenizer.from_pretrained(policy),
        )
        (batch,) = list(trainer.get_train_dataloader())
        trainer.train()
    np.random.set_state(legacy)  # noqa: NPY002
    assert sorted(batch["margin"].tolist()) == pytest.approx(sorted(made["margin"].to_list()), rel=1e-5)
    assert np.isfinite(trainer.state.log_history[-1]["train_loss"])
