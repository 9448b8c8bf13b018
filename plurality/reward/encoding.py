"""The encoder of a model: its own, or one that is given in its place and gives the same vectors."""

from pathlib import Path
from typing import Any

from plurality.encoders import EmbeddingServer, create
from plurality.encoders.protocol import Encoder
from plurality.encoders.server import is_url
from plurality.encoders.standing import stand_in
from plurality.errors import InputError

TELLING = ("kind", "name", "template", "pooling", "chat_template", "normalise", "dtype", "max_length", "dim")


def chosen_encoder(own: Encoder | None, width: int, given: "str | Path | EmbeddingServer | Encoder | None") -> Encoder:
    """The model's own encoder, or the one given if it is the same. Raises InputError if it is another.

    own      the encoder that the model records, if it does
    width    of the embeddings that the model was fitted on
    given    another, or where another is: an address or `EmbeddingServer` stands in for the recorded one
    """
    if given is None:
        if own is None:
            raise InputError(
                "this model was fitted on ready-made embeddings, so its encoder is not recorded; give the one that "
                "made them as encoder="
            )
        return own
    server = EmbeddingServer(given) if isinstance(given, str) and is_url(given) else given
    if isinstance(server, EmbeddingServer) and own is not None:
        return stand_in(server, own, width)
    encoder = create(server, cache=False)
    if own is not None and own.fingerprint != encoder.fingerprint:
        mine, theirs = own.describe(), encoder.describe()
        other = [k for k in TELLING if mine.get(k) != theirs.get(k)]
        raise InputError(
            f"the model was fitted with {_called(own, mine, other)}, but the encoder given is "
            f"{_called(encoder, theirs, other)}; leave it out, or give the model's own"
        )
    if encoder.dim != width:
        raise InputError(
            f"the encoder gives {encoder.dim} dimensions, but the model was fitted on {width}; "
            "give the encoder that made its embeddings"
        )
    return encoder


def _called(encoder: Encoder, about: dict[str, Any], other: list[str]) -> str:
    told = ", ".join(f"{k} {about[k]}" for k in dict.fromkeys(["name", *other]) if about.get(k) is not None)
    return f"{told or about.get('kind', 'an encoder')} [{encoder.fingerprint[:8]}]"
