"""Which embedding server stands in for an encoder, and comparisons read with the encoder of a model."""

import argparse
from typing import TYPE_CHECKING

from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.data.comparisons import Comparisons
    from plurality.data.judgements import Repeats
    from plurality.encoders import EmbeddingServer
    from plurality.reward.reward_model import RewardModel


def add_server(parser: argparse.ArgumentParser) -> None:
    """What goes with an encoder that is the address of a server."""
    parser.add_argument(
        "--encoder-model",
        metavar="NAME",
        help="model on the embedding server (default: the only one there)",
    )
    parser.add_argument(
        "--encoder-key",
        metavar="VARIABLE",
        help="environment variable that holds the server's key (default PLURALITY_ENCODER_KEY); the key is not kept",
    )


def add_model_encoder(parser: argparse.ArgumentParser) -> None:
    """`--encoder` of commands that load a model, whose own encoder it stands in for."""
    parser.add_argument(
        "--encoder",
        metavar="URL",
        help="embedding server in place of the model's encoder, http(s)://…/v1/embeddings; it must have the same model",
    )
    add_server(parser)


def model_encoder(args: argparse.Namespace) -> "EmbeddingServer | None":
    """The server that stands in for the model's encoder, if one is given. Raises InputError for no address."""
    from plurality.encoders.server import EmbeddingServer, is_url

    if args.encoder is None:
        if given := [f"--{name.replace('_', '-')}" for name in ("encoder_model", "encoder_key") if vars(args)[name]]:
            raise InputError(f"{given[0]} without --encoder: give the address of the server too, or leave it out")
        return None
    if not is_url(args.encoder):
        raise InputError(f"--encoder {args.encoder}: is no address; give http(s)://…/v1/embeddings, or leave it out")
    return EmbeddingServer(args.encoder, args.encoder_model or "", key_variable=args.encoder_key)


def read_for(
    model: "RewardModel", source: str, *, users: str | None = None, repeats: "Repeats" = "drop", progress: bool = False
) -> "Comparisons":
    """Comparisons as a model takes them: a store as it is, texts embedded by the model's own encoder."""
    from plurality.data.read import read
    from plurality.data.store import is_store

    if is_store(source):
        return read(source, users=users)
    return read(
        source,
        users=users,
        encoder=model.text_encoder(),
        prompts=model.head.uses_prompts,
        repeats=repeats,
        progress=progress,
    )
