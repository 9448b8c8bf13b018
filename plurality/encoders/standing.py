"""A server in place of the encoder that a store or model records, and the probe that tells whether it is the same."""

from dataclasses import replace

from plurality.encoders import load
from plurality.encoders.probe import probe_of_file
from plurality.encoders.protocol import Encoder, Vectors
from plurality.encoders.served import Recipe, ServerEncoder
from plurality.encoders.server import EmbeddingServer, same_model
from plurality.encoders.stored import StoredEncoder
from plurality.encoders.transformers import TransformersEncoder
from plurality.errors import InputError

__all__ = ["recorded_probe", "stand_in"]


def recorded_probe(encoder: Encoder) -> Vectors | None:
    """Vectors (k, d) of the probe's texts as an encoder records them, without embedding anything; None: it does not.

    encoder    of a store, model or server
    """
    if isinstance(encoder, StoredEncoder):
        return probe_of_file(encoder.folder)
    return encoder.probe if isinstance(encoder, ServerEncoder) else None


def stand_in(server: EmbeddingServer, recorded: Encoder | None, dim: int) -> ServerEncoder:
    """A server in place of a recorded encoder: its template, limit and normalisation, its fingerprint, its probe.

    server      where it is; without a model, the recorded one is asked for
    recorded    what made the embeddings of a store or model, None if nobody knows; a chat template needs its tokenizer
    dim         width of its vectors

    Raises InputError for lsa, which no server has, and for another model's name.
    """
    record = {} if recorded is None else recorded.describe()
    if record.get("kind") == "lsa":
        raise InputError("this model's encoder is lsa, which no embedding server has; use RewardFunction")
    name = record.get("name")
    served = server.stands_for or server.model
    if not served and name:
        server = replace(server, model=str(name))
    elif name is not None and not same_model(served, str(name)):
        raise InputError(
            f"{server.url}: serves {served!r}, but the model was fitted on {name!r}; serve that one, or "
            "say stands_for= if it only has another name there"
        )
    template = record.get("template") or server.template
    if template is None:
        raise InputError(
            "this model does not record how its texts were written out; say template='conversation' or "
            "'completion' of the EmbeddingServer"
        )
    if server.max_length is None:
        server = replace(server, max_length=record.get("max_length"))
    chat = None
    if record.get("chat_template"):
        own = load(recorded.folder, cache=False) if isinstance(recorded, StoredEncoder) else recorded
        chat = own.uncached() if isinstance(own, TransformersEncoder) else None
    recipe = Recipe(template, bool(record.get("normalise")), chat)
    return ServerEncoder.standing_for(
        recorded, server, recipe, dim, None if recorded is None else recorded_probe(recorded)
    )
