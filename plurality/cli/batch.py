"""`embed --manifest` and `--results`: texts to `vllm run-batch` and its answers back."""

import argparse
from typing import TYPE_CHECKING, Any

from plurality.cli.settings import say
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.encoders.batch_files import BatchReader, BatchWriter


def batch_encoder(args: argparse.Namespace) -> "BatchReader | BatchWriter | None":
    """What takes texts down or reads their vectors; None: neither is asked for. Raises InputError without a model."""
    from plurality.encoders.batch_files import BatchAnswers, BatchReader, BatchWriter
    from plurality.encoders.server import EmbeddingServer

    if (args.out is None) == (args.manifest is None):
        raise InputError("give --out, a store to write, or --manifest, a file of requests; one of them")
    if args.manifest is None and args.results is None:
        return None
    if not args.encoder_model or args.encoder is not None:
        raise InputError(
            "--manifest and --results need --encoder-model, what run-batch is given as --model, and no --encoder"
        )
    server = EmbeddingServer(
        "/v1/embeddings", args.encoder_model, template=args.template, max_length=args.max_length, encoding="float"
    )
    if args.manifest is not None:
        return BatchWriter(server)
    return BatchReader(server, BatchAnswers.of(args.results))


def manifest_of(args: argparse.Namespace, writer: Any) -> dict[str, Any]:
    """Write the requests of what was taken down."""
    from plurality.encoders.batch_files import BatchAnswers, write_manifest

    writer.probe_too()
    answered = BatchAnswers.of(args.results) if args.results else None
    count = write_manifest(args.manifest, writer, answered)
    say(
        args,
        f"{count:,} requests written to {args.manifest}; answer them by: vllm run-batch -i {args.manifest} "
        f"-o results.jsonl --model {args.encoder_model} --runner pooling --convert embed",
    )
    return {"manifest": str(args.manifest), "requests": count}
