"""Whether data were embedded as a model's training data were."""

from typing import Any

from plurality.data.comparisons import Comparisons
from plurality.encoders.protocol import Encoder
from plurality.errors import InputError


def check_encoder(encoder: Encoder | None, data: Comparisons) -> None:
    """Raise InputError if both encoders are known and differ.

    encoder   the one the model was fitted with; None where it was fitted on ready-made embeddings
    data      comparisons to score or adapt on, with the encoder that embedded them, if any
    """
    if encoder is not None and data.encoder is not None and encoder.fingerprint != data.encoder.fingerprint:
        raise InputError(
            f"{data.source}: embedded by {_called(data.encoder)}, but the model was fitted on {_called(encoder)}; "
            "embed again with the model's own encoder"
        )


def _called(encoder: Encoder) -> str:
    about: dict[str, Any] = encoder.describe()
    return f"{about.get('kind', 'encoder')} {about.get('name', '')} [{encoder.fingerprint[:8]}]".replace("  ", " ")
