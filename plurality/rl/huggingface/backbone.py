"""The frozen model under a reward, from the encoder that the reward was fitted with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plurality.encoders import TransformersEncoder, checkpoint, load
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel


@dataclass(frozen=True)
class Backbone:
    """A transformer and how its states become an embedding.

    folder      where the model lies
    about       the encoder's description: pooling, normalise, template, dtype, max_length, ...
    reference   the same encoder in float32 on the CPU, which an export is compared with
    """

    folder: Path
    about: dict[str, Any]
    reference: TransformersEncoder

    @staticmethod
    def of(reward: RewardModel, folder: str | Path | None = None) -> "Backbone":
        """The reward's own encoder; `folder` says where its model lies now, if not where it was.

        A reward fitted on ready-made embeddings is an error, since nothing says how they were made. Who knows gives it
        its encoder first, `dataclasses.replace(reward, encoder=...)`. Raises InputError also for an encoder that is no
        transformer, or a folder that holds another model.
        """
        encoder = reward.encoder
        if encoder is None:
            raise InputError(
                "this reward was fitted on ready-made embeddings, and nothing says how they were made; fit it on texts "
                "(read(..., encoder=FOLDER)), or put the encoder they came from into the reward"
            )
        about = encoder.describe()
        if about.get("kind") != "transformers":
            raise InputError(
                f"this reward's encoder is {about.get('kind')}, which is no transformer; fit on one to export it"
            )
        if isinstance(encoder, StoredEncoder):
            encoder = load(encoder.folder, cache=False, name=None if folder is None else str(folder))
        elif folder is not None:
            assert isinstance(encoder, TransformersEncoder)
            encoder = TransformersEncoder(replace(encoder.spec, name=str(folder), revision=None), cache=False)
            if encoder.fingerprint != about["fingerprint"]:
                raise InputError(f"{folder}: is not the model that this reward was fitted on; give the folder that is")
        assert isinstance(encoder, TransformersEncoder)
        if encoder.dim != reward.head.n_embedding:
            raise InputError(f"the encoder gives {encoder.dim} dimensions, the reward takes {reward.head.n_embedding}")
        place, _ = checkpoint.locate(encoder.spec.name, encoder.spec.revision)
        reference = TransformersEncoder(replace(encoder.spec, dtype="float32", device="cpu"), cache=False)
        return Backbone(place, about, reference)
