"""`plurality serve`: rewards over HTTP, for OpenRLHF's --reward.remote_url and other clients of its API."""

import argparse
import contextlib
import gc
import logging
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
    from collections.abc import Awaitable

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
    _add_learning(parser)
    add_no_verify(parser)


def _add_learning(parser: argparse.ArgumentParser) -> None:
    """What a server that remembers answers has beside the others."""
    parser.add_argument(
        "--state",
        metavar="WHERE",
        help="remember users' answers and learn from them: a file such as users.db (SQLite), or an SQLAlchemy URL "
        "(default: nothing is remembered)",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="TOML file with [NAME], token and scopes (score, feedback, admin) of each client; needed to listen on "
        "more than loopback",
    )
    parser.add_argument(
        "--study", metavar="FILE", help="TOML file of a study, whose questions /ask shows; needs --state"
    )
    parser.add_argument(
        "--fitted-through",
        type=at_least(0),
        metavar="N",
        help="number of the last stored answer that the model was fitted on, which are then not counted again for "
        "users it knows (last_answer of an export)",
    )
    parser.add_argument(
        "--client-queue", type=at_least(1), help="maximum queue length of one client in completions (default: of all)"
    )
    parser.add_argument(
        "--client-rate",
        type=at_least(0),
        default=0,
        help="maximum requests a second of one client (default 0: any number)",
    )
    parser.add_argument(
        "--groups", metavar="TABLE", help="table of user_id and group, for rewards by group in /metrics"
    )
    parser.add_argument(
        "--group-by", metavar="NAME", help="what users say of themselves that is their group in /metrics"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, try once, listen until SIGINT or SIGTERM; requests that are under way are answered first."""
    from plurality.reward.reward_model import load
    from plurality.rl.openrlhf_protocol import END_TOKENS, OpenRLHFProtocol
    from plurality.rl.reward_function import RewardFunction
    from plurality.serving.access import read_tokens
    from plurality.serving.app import Learning, Limits, Served, create_app
    from plurality.serving.connections import ConnectionLimits
    from plurality.serving.engine import BASE, Live
    from plurality.serving.hosts import names_here
    from plurality.serving.learning import Learner
    from plurality.serving.state import open_state
    from plurality.serving.study import read_study
    from plurality.serving.vectors import RememberingEncoder

    if (args.reference is None) == (args.normalise == "win"):
        raise InputError("--normalise win and --reference go together: give both, or neither")
    if args.blank is not None and not (math.isfinite(args.blank) and (args.reference is None or 0 <= args.blank <= 1)):
        raise InputError(f"--blank {args.blank}: give a number to train on, with --normalise win one in [0, 1]")
    tags = thought_tags(args)
    _check_learning(args)
    state = None if args.state is None else open_state(args.state)
    reference = None if args.reference is None else _reference(args.reference)
    study = None if args.study is None else read_study(args.study)
    embedded: list[RememberingEncoder] = []

    def make() -> Live:
        model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
        same = [e for e in embedded if model.encoder is not None and e.fingerprint == model.encoder.fingerprint]
        learner = Learner(model, state, same[0] if same else None)
        rewarder = RewardFunction(
            learner.model,
            user_column="user_id",  # by which the server names them, whatever the model's unit is
            unknown=args.unknown,
            normalise=args.normalise,
            reference=reference,
            direction=args.direction,
            lower=args.lower,
            base=None if model.base is None else BASE,
            blank=args.blank,
            thought_tags=tags,
        )
        columns = {} if model.base is None else {BASE: [0.0]}
        # what cannot embed or score must say so now, not in the middle of a training run
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # such as of a word that the encoder does not know
            rewarder(["Hello"], ["Hello"], user_id=list(model.user_ids[:1]), **columns)
        embedded[:] = [learner.encoder]
        personal = rewarder.needs_user and model.head.n_codes  # or all have one reward
        return Live(learner, rewarder, args.unknown if personal else "population")

    live = make()
    model = live.learner.model
    if args.fitted_through is not None:
        live.learner.fitted_through(args.fitted_through)
    encoder = model.text_encoder().describe()
    about: dict[str, Any] = {"model": repr(model), "encoder": {key: encoder.get(key) for key in ("kind", "name")}}
    about["remembers"] = state is not None
    limits = Limits(
        args.max_batch,
        args.max_wait_ms / 1000,
        args.max_queue,
        args.max_body_mb * 2**20,
        float(args.timeout),
        args.client_queue,
        float(args.client_rate),
    )
    app = create_app(
        live,
        served=Served(
            model.user_ids if state is None else None, live.unknown, "probability" if reference else "log_odds", about
        ),
        limits=limits,
        protocol=OpenRLHFProtocol(
            user_key=model.spec.unit,
            needs_user=live.rewarder.needs_user,
            reads_prompts=live.rewarder.reads_prompts,
            end_tokens=END_TOKENS if args.eos is None else tuple(args.eos),
            thought_tags=tags,
        ),
        hosts=names_here(args.host, args.allow_host),
        learning=Learning(
            study,
            None if args.token_file is None else read_tokens(args.token_file),
            make,
            {} if args.groups is None else _groups(args.groups),
            args.group_by,
        ),
    )
    listener = _listen(args.host, args.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/get_reward"
    say(args, f"{model!r} answers at {url}; Ctrl-C ends it")
    connections = ConnectionLimits(args.max_connections, args.header_timeout, args.idle_timeout)
    answer(app, listener, args.timeout, connections)
    if state is not None:
        live.learner.keep()
        state.close()
    return {"served": str(args.model), "url": url}


def _check_learning(args: argparse.Namespace) -> None:
    from plurality.serving.hosts import is_loopback

    if args.token_file is None and not is_loopback(args.host):
        raise InputError(
            f"--host {args.host}: others than this machine could ask; give --token-file with tokens of those who may"
        )
    for name in ("study", "fitted_through", "group_by"):
        if args.state is None and getattr(args, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is about stored answers; give --state too, such as users.db")


def _groups(source: str) -> dict[str, str]:
    """The group of each user of a table."""
    from plurality.data.readers import columns
    from plurality.data.readers.tables import open_frame

    frame, place = open_frame(source, "users")
    ids, groups = columns.ids(frame, "user_id", place), columns.ids(frame, "group", place)
    return dict(zip(ids.to_list(), groups.to_list(), strict=True))


def answer(app: "Starlette", listener: socket.socket, timeout_s: int, limits: "ConnectionLimits | None" = None) -> None:
    """Serve until SIGINT or SIGTERM, then answer the requests that are under way, for at most `timeout_s`.

    SIGHUP, which also the end of a terminal session sends, loads the model again.
    """
    import asyncio

    import uvicorn

    from plurality.serving.connections import ConnectionLimits, guarded
    from plurality.serving.routes import load_again

    class Server(uvicorn.Server):
        """One that loads its model again when it is told to."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            """Listen."""
            await super().startup(sockets)
            if sys.platform != "win32":
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.reload)

        def reload(self) -> None:
            """In a task that is kept until it is done."""
            self.reloading = asyncio.ensure_future(_logged(load_again(app.state.service, "SIGHUP")))

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
    sys.setswitchinterval(0.0005)  # seconds that a thread which learns may keep those that answer waiting
    gc.freeze()  # what is loaded stays: looking through it for garbage would now and then delay all requests
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # once all is answered uvicorn raises its signal again
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listener])


async def _logged(loading: "Awaitable[Any]") -> None:
    """Whatever fails, what is served goes on."""
    try:
        await loading
    except Exception as error:
        logging.getLogger(__name__).warning("the model was not loaded again, the old one answers: %s", error)


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
