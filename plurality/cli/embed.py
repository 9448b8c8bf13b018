"""`plurality embed`: comparisons and users in, a store with frozen embeddings out."""

import argparse
from dataclasses import fields, replace
from typing import Any

from plurality.cli.encoders import add_server
from plurality.cli.engines import add_engine, engine_of
from plurality.cli.settings import add_seed, say, say_unread
from plurality.io.paths import expanded

ENCODER_SETTINGS = ("template", "pooling", "dtype", "device", "revision", "dim", "max_length")

EXAMPLE = "plurality embed comparisons.parquet --users users.parquet --out store/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "comparisons",
        help="parquet, JSONL or CSV with user_id, prompt, chosen, rejected (or choices, rankings, thumbs, ratings)",
    )
    parser.add_argument("--users", help="parquet, JSONL or CSV with user_id and demographic columns")
    parser.add_argument("--out", type=expanded, help="data store to write")
    parser.add_argument(
        "--manifest",
        type=expanded,
        metavar="FILE",
        help="write the texts as requests of `vllm run-batch` (JSON lines) in place of a store; needs --encoder-model",
    )
    parser.add_argument(
        "--results",
        type=expanded,
        nargs="+",
        metavar="FILE",
        help="answers of `vllm run-batch`: make the store of these; with --manifest, ask for what they lack",
    )
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help="write the K-th of N shards of the store, in place of all of it, for `plurality data merge`; each GPU or "
        "machine makes one of the same table",
    )
    parser.add_argument(
        "--embeddings",
        help="precomputed embeddings (.npy, .safetensors, .parquet, .feather), if the columns hold their row numbers",
    )
    add_encoder(
        parser, "text encoder: lsa (default, no download), a hub id, a model folder or http(s)://…/v1/embeddings"
    )


def add_encoder(parser: argparse.ArgumentParser, encoder_help: str) -> None:
    """Arguments of whatever embeds comparisons."""
    parser.add_argument("--encoder", help=encoder_help)
    add_server(parser)
    add_engine(parser)
    parser.add_argument(
        "--user-text", metavar="COLUMN", help="column of the users table that describes users in words, to be embedded"
    )
    parser.add_argument(
        "--store-dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="precision of the embeddings in the store (default float32); the others take half the disk",
    )
    parser.add_argument("--prompts", action="store_true", help="also embed prompts alone (for PAL form B)")
    parser.add_argument(
        "--repeats",
        choices=("drop", "keep"),
        default="drop",
        help="exact duplicate rows: keep one (drop, default) or all (keep)",
    )
    parser.add_argument(
        "--blank",
        choices=("error", "drop", "keep"),
        default="error",
        help="rows with an empty text: raise an error (default), drop them, or keep them (embedded as zeros)",
    )
    parser.add_argument(
        "--strength-as",
        choices=("weight", "label", "level"),
        default="weight",
        help="use the `strength` column as a row weight (default), as a soft label, or as an ordered level or "
        "magnitude that models learn from",
    )
    parser.add_argument("--cache", type=expanded, help="embedding cache folder (default ~/.cache/plurality)")
    for name, help_ in (
        ("template", "text format, conversation or completion"),
        ("pooling", "token pooling, last, mean or first"),
        ("dtype", "precision, float32, bfloat16 or float16"),
        ("device", "torch device, cpu, cuda, mps or auto"),
        ("revision", "hub revision (branch, tag or commit)"),
    ):
        parser.add_argument(f"--{name}", help=f"encoder: {help_}")
    parser.add_argument("--dim", type=int, help="encoder lsa: embedding dimension")
    parser.add_argument(
        "--max-length", type=int, help="encoder: maximum number of tokens; longer texts are truncated from the left"
    )
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read, embed what the cache lacks, save."""
    from plurality.cli.batch import batch_encoder, manifest_of
    from plurality.data.read import read
    from plurality.data.shards import Shard, save_shard
    from plurality.data.store import META, SHARD
    from plurality.errors import InputError
    from plurality.io.atomic import check_file, check_target

    batch, engine = batch_encoder(args), engine_of(args)
    shard = None if args.shard is None else Shard.parse(args.shard)
    if shard is not None and args.manifest is not None:
        raise InputError("--shard is of a store, and a manifest has a line a text: split it by lines instead")
    check_target(args.out, SHARD if shard else META) if args.manifest is None else check_file(args.manifest)
    data = read(
        args.comparisons,
        users=args.users,
        encoder=_encoder(args) if batch is None else batch,
        embeddings=args.embeddings,
        prompts=args.prompts,
        repeats=args.repeats,
        blank=args.blank,
        strength_as=args.strength_as,
        user_text=args.user_text,
        cache=args.cache,
        seed=args.seed,
        progress=not args.json,
        pending=args.manifest is None,
    )
    if args.manifest is not None:
        return manifest_of(args, batch)
    say_unread(data)
    if shard is None:
        data.save(args.out, dtype=args.store_dtype, engine=engine)
        say(args, data, f"store written to {args.out}")
    else:
        save_shard(data, args.out, shard, dtype=args.store_dtype, engine=engine)
        start, stop = shard.rows(len(data.items))
        say(args, data, f"shard {shard} with {stop - start:,} of its items written to {args.out}")
    return {
        "store": str(args.out),
        "shard": args.shard,
        "comparisons": len(data),
        "users": len(data.present),
        "items": len(data.items),
        "dim": data.dim,
        "duplicates_dropped": data.duplicates,
        "columns_not_read": list(data.unread),
    }


def encoder_flags(args: argparse.Namespace) -> list[str]:
    """The flags given that are settings of an encoder."""
    return [_flag(name) for name in ENCODER_SETTINGS if getattr(args, name) is not None]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _encoder(args: argparse.Namespace) -> Any:
    """The encoder that name and flags stand for, if any; a flag the encoder has no setting for is an error."""
    from plurality.encoders import LsaSpec, TransformersSpec
    from plurality.encoders.server import EmbeddingServer, is_url
    from plurality.errors import InputError

    given = {k: v for k in ENCODER_SETTINGS if (v := getattr(args, k)) is not None}
    spec: LsaSpec | TransformersSpec | EmbeddingServer
    if is_url(args.encoder):
        spec = EmbeddingServer(args.encoder, args.encoder_model or "", key_variable=args.encoder_key)
    elif args.encoder_model or args.encoder_key:
        raise InputError("--encoder-model and --encoder-key go with a server; give its address as --encoder")
    elif not given:
        return args.encoder
    else:
        spec = LsaSpec() if args.encoder in (None, "lsa") else TransformersSpec(args.encoder)
    alien = [_flag(name) for name in given if name not in {field.name for field in fields(spec)}]
    if alien:
        raise InputError(f"encoder {args.encoder or 'lsa'} has no setting for {', '.join(alien)}; leave it out")
    return replace(spec, **given)
