"""`plurality serve`: rewards over HTTP, for OpenRLHF's --reward.remote_url and other clients of its API."""

import argparse
import contextlib
import gc
import math
import signal
import socket
import sys
import warnings
from typing import TYPE_CHECKING, Any

from plurality.cli.encoders import add_model_encoder, model_encoder
from plurality.cli.settings import add_direction, add_no_verify, add_thought_tags, at_least, say, thought_tags
from plurality.errors import InputError, InputWarning

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from plurality.encoders.protocol import Corpus
    from plurality.serving.connections import ConnectionLimits

EXAMPLE = "plurality serve reward/ --port 5000 --unknown population"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    whole = at_least(1)
    parser.add_argument("model", help="fitted model folder, or hub id org/name")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1, this machine only)"
    )
    parser.add_argument("--port", type=at_least(0), default=5000, help="port (default 5000; 0: any free port)")
    parser.add_argument(
        "--unknown",
        choices=("error", "population"),
        default="error",
        help="unknown users: raise an error (default) or give the population's reward",
    )
    parser.add_argument(
        "--normalise",
        choices=("raw", "win"),
        default="raw",
        help="reward: log-odds (default), or mean win probability against --reference",
    )
    parser.add_argument(
        "--reference", help="reference completions for --normalise win: parquet, JSONL or CSV with prompt, completion"
    )
    parser.add_argument(
        "--lower",
        type=float,
        default=0.0,
        help="standard deviations that a reward is below what is expected of its user (default 0)",
    )
    add_direction(parser)
    parser.add_argument(
        "--blank",
        type=float,
        help="reward of a completion that is empty or a thought that has not ended (default: reject the request, which "
        "ends a run of trainers that must have a number)",
    )
    add_thought_tags(parser)
    parser.add_argument("--max-batch", type=whole, default=64, help="maximum batch size in completions (default 64)")
    parser.add_argument(
        "--max-wait-ms",
        type=at_least(0),
        default=20,
        help="maximum batching delay in milliseconds (default 20)",
    )
    parser.add_argument(
        "--max-queue", type=whole, default=4096, help="maximum queue length in completions (default 4096)"
    )
    parser.add_argument("--max-body-mb", type=whole, default=4, help="maximum request size in MiB (default 4)")
    parser.add_argument("--timeout", type=whole, default=60, help="request timeout in seconds (default 60)")
    parser.add_argument(
        "--max-connections", type=whole, default=512, help="maximum number of open connections (default 512)"
    )
    parser.add_argument(
        "--header-timeout", type=whole, default=10, help="seconds for a request's headers to arrive (default 10)"
    )
    parser.add_argument(
        "--idle-timeout", type=whole, default=60, help="seconds that an unused connection stays open (default 60)"
    )
    parser.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names in the Host header to answer to, * for any (default: loopback names and those of --host)",
    )
    parser.add_argument(
        "--eos",
        nargs="*",
        metavar="TOKEN",
        help="end-of-sequence tokens to strip from completions (default: those of common tokenizers)",
    )
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, try once, listen until SIGINT or SIGTERM; requests that are under way are answered first."""
    from plurality.reward.reward_model import load
    from plurality.reward.scoring import Unknown
    from plurality.rl.openrlhf_protocol import END_TOKENS, OpenRLHFProtocol
    from plurality.rl.reward_function import RewardFunction
    from plurality.serving.app import Limits, Served, create_app
    from plurality.serving.connections import ConnectionLimits
    from plurality.serving.hosts import names_here

    if (args.reference is None) == (args.normalise == "win"):
        raise InputError("--normalise win and --reference go together: give both, or neither")
    if args.blank is not None and not (math.isfinite(args.blank) and (args.reference is None or 0 <= args.blank <= 1)):
        raise InputError(f"--blank {args.blank}: give a number to train on, with --normalise win one in [0, 1]")
    tags = thought_tags(args)
    model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
    if model.base is not None:
        raise InputError("this model starts from a base reward, whose scores no request carries; serve one without")
    reference = None if args.reference is None else _reference(args.reference)
    rewarder = RewardFunction(
        model,
        user_column="user_id",  # by which the server names them, whatever the model's unit is
        unknown=args.unknown,
        normalise=args.normalise,
        reference=reference,
        direction=args.direction,
        lower=args.lower,
        blank=args.blank,
        thought_tags=tags,
    )
    # what cannot embed or score must say so now, not in the middle of a training run
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # such as of a word that the encoder does not know
        rewarder(prompts=["Hello"], completions=["Hello"], user_id=list(model.user_ids[:1]))
    encoder = model.text_encoder().describe()
    personal = rewarder.needs_user and model.head.n_codes  # or all have one reward
    unknown: Unknown = args.unknown if personal else "population"
    about = {"model": repr(model), "encoder": {key: encoder.get(key) for key in ("kind", "name")}}
    app = create_app(
        rewarder,
        served=Served(model.user_ids, unknown, "probability" if reference else "log_odds", about),
        limits=Limits(
            args.max_batch, args.max_wait_ms / 1000, args.max_queue, args.max_body_mb * 2**20, float(args.timeout)
        ),
        protocol=OpenRLHFProtocol(
            user_key=model.spec.unit,
            needs_user=rewarder.needs_user,
            reads_prompts=rewarder.reads_prompts,
            end_tokens=END_TOKENS if args.eos is None else tuple(args.eos),
            thought_tags=tags,
        ),
        hosts=names_here(args.host, args.allow_host),
    )
    listener = _listen(args.host, args.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/get_reward"
    say(args, f"{model!r} answers at {url}; Ctrl-C ends it")
    limits = ConnectionLimits(args.max_connections, args.header_timeout, args.idle_timeout)
    answer(app, listener, args.timeout, limits)
    return {"served": str(args.model), "url": url}


def answer(app: "Starlette", listener: socket.socket, timeout_s: int, limits: "ConnectionLimits | None" = None) -> None:
    """Serve until SIGINT or SIGTERM, then answer the requests that are under way, for at most `timeout_s`.

    The end of a terminal session, SIGHUP, ends nothing.
    """
    import uvicorn

    from plurality.serving.connections import ConnectionLimits, guarded

    limits = limits or ConnectionLimits()
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=timeout_s,
        timeout_keep_alive=math.ceil(limits.idle_timeout_s),
    )
    config.load()
    config.http_protocol_class = guarded(config.http_protocol_class, limits)
    gc.freeze()  # what is loaded stays: looking through it for garbage would now and then delay all requests
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # once all is answered uvicorn raises its signal again
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    if port > 65535:
        raise InputError(f"--port {port}: ports end at 65535; give another")
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot be listened on ({error.strerror}); give another address") from None


def _reference(source: str) -> "Corpus":
    """Prompts and completions of a table."""
    from plurality.data.readers import chats, columns
    from plurality.data.readers.tables import open_frame

    frame, place = open_frame(source, "reference")
    prompts = columns.column(frame, "prompt", place)
    texts = chats.prompts(prompts, place).to_list()
    completions = chats.completions(columns.column(frame, "completion", place), place).to_list()
    return [chats.messages(text) for text in texts] if chats.is_chat(prompts) else texts, completions
