"""Models on the Hugging Face hub: which files are fetched and published, and each thing that goes wrong as one line.

huggingface_hub comes with the extra "hf" and is imported when a hub id is used.
"""

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import plurality
from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded
from plurality.io.sealed import seal
from plurality.reward import persistence
from plurality.reward.fitted import Parts
from plurality.reward.model_card import CARD, CardDetails, Place
from plurality.reward.persistence import CONFIG, ENCODER, HEAD, USERS
from plurality.reward.pseudonyms import pseudonymised

RECORD = f"{ENCODER}/encoder.json"
NEEDED = (CONFIG, HEAD, USERS)
FILES = (*NEEDED, CARD, RECORD, f"{ENCODER}/encoder.safetensors")  # nothing else is read or published
HUB_ID = re.compile(r"(?=[^@]{3,96}(?:@|$))(?P<repo>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>\S+))?", re.ASCII)


def local_folder(source: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a model: one that is there, or else the hub's files in the hub's own cache.

    Whatever exists under this name here wins. A `Path`, and text that is no "org/name" or "org/name@revision", is never
    looked for on the hub. Of a repository only `FILES` are fetched: no pickle, no code.

    source      folder, or hub id
    revision    branch, tag or commit of a hub id; None: the one after "@", or else the main branch
    token       the hub's access token; None: the one that `hf auth login` stored

    Raises InputError for a revision of a local folder, and where the hub cannot be reached, has no such repository or
    revision, does not let you in, or has no plurality model there.
    """
    folder, asked = expanded(source), _hub_id(source)
    if asked is None or os.path.exists(folder):
        if revision is not None:
            raise InputError(f"{source}: is a local path, and revision= is for hub ids; leave one of them out")
        return folder
    repo_id, at = asked["repo"], revision or asked["revision"]
    with _one_line(repo_id, f"{source}: no such folder here, and", at) as hub:
        found = Path(hub.snapshot_download(repo_id, revision=at, token=token, allow_patterns=list(FILES)))
    if missing := [name for name in NEEDED if not (found / name).is_file()]:
        raise InputError(f"{source}: the hub's repository holds no plurality model ({missing[0]} is missing)")
    return found


def push(
    model: Parts,
    repo_id: str,
    *,
    private: bool,
    token: str | None,
    revision: str | None,
    commit_message: str | None,
    hash_user_ids: bool,
    user_id_key: str | bytes | None,
    card: CardDetails | None,
) -> str:
    """Publish a model in one commit; see `RewardModel.push_to_hub`."""
    asked = _hub_id(repo_id)
    if asked is None or asked["revision"]:
        raise InputError(f'{repo_id!r} is not a hub id; give "org/name", and a branch as revision=')
    if user_id_key is not None and not hash_user_ids:
        raise InputError("user_id_key= is for hashing, and hash_user_ids=False; leave one of them out")
    published = pseudonymised(model, user_id_key) if hash_user_ids else model
    with TemporaryDirectory() as place:
        folder = persistence.write(published, Path(place) / "model", card, Place(repo_id, hash_user_ids))
        _check_vocabulary(folder, model.user_ids)
        _forget_local_paths(folder)
        with _one_line(repo_id, f"{repo_id}:", revision) as hub:
            api = hub.HfApi(token=token, library_name="plurality", library_version=plurality.__version__)
            api.create_repo(repo_id, private=private, exist_ok=True)
            if private and not api.repo_info(repo_id).private:  # one that was there keeps its own visibility
                raise InputError(f"{repo_id}: is public on the hub; give private=False to publish there")
            if revision is not None:
                api.create_branch(repo_id, branch=revision, exist_ok=True)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*commit a data file")  # users.parquet is part of the model
                commit = api.upload_folder(
                    repo_id=repo_id,
                    folder_path=folder,
                    revision=revision,
                    commit_message=commit_message or f"Reward model {model.spec.name}",
                    allow_patterns=list(FILES),
                    delete_patterns=list(FILES),  # such as the encoder of a model that was there
                )
    return str(commit.commit_url)


def _hub_id(source: str | Path) -> re.Match[str] | None:
    """The parts of "org/name" or "org/name@revision", by the hub's own rules; None for whatever is a path."""
    match = HUB_ID.fullmatch(source) if isinstance(source, str) else None
    legal = match and not any(bad in match["repo"] for bad in ("--", "..")) and not match["repo"].endswith(".git")
    return match if legal else None


@contextmanager
def _one_line(repo_id: str, who: str, revision: str | None) -> Iterator[Any]:
    """The library huggingface_hub; what it raises inside the block becomes one line that begins with `who`."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise InputError(f"{who} the hub needs huggingface_hub: pip install 'plurality-rm[hf]'") from None
    # HfHubHTTPError stands on the base of what the library's HTTP client raises, which differs from version to version
    client: tuple[type[BaseException], ...] = (OSError, ValueError, *errors.HfHubHTTPError.__bases__)
    log_in = "log in with `hf auth login` or give token="
    try:
        yield huggingface_hub
    except errors.GatedRepoError:
        ask = f"ask for access at huggingface.co/{repo_id}, and {log_in}"
        raise InputError(f"{who} the hub's {repo_id} is gated; {ask}") from None
    except errors.RepositoryNotFoundError:
        raise InputError(f"{who} the hub has no {repo_id} that you may see; check the name, or {log_in}") from None
    except errors.RevisionNotFoundError:
        raise InputError(f"{who} the hub's {repo_id} has no revision {revision!r}; give one that it lists") from None
    except errors.LocalEntryNotFoundError:
        raise InputError(
            f"{who} the hub cannot be reached, its cache has no {repo_id}; check the name or go online"
        ) from None
    except errors.HfHubHTTPError as error:
        status = "no answer" if error.response is None else error.response.status_code
        cause = error.server_message or str(error)
        remedy = log_in if status in (401, 403) else "try again later"
        raise InputError(f"{who} the hub answers {status} ({_line(cause)}); {remedy}") from None
    except client as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{who} the hub cannot be used ({_line(str(error))}); check your connection") from None


def _line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no reason given").rstrip(".")[:200]


def _check_vocabulary(folder: Path, user_ids: tuple[str, ...]) -> None:
    """Warn where a fitted encoder's words, which cannot be hashed, are user ids."""
    record = folder / RECORD
    words = set(json.loads(record.read_text("utf-8")).get("vocabulary") or ()) if record.is_file() else set()
    if named := {u for u in user_ids if not u.isdecimal() and u.lower() in words}:
        warnings.warn(
            InputWarning(
                f"{len(named)} user ids are words of the encoder's vocabulary too, and stay readable in {RECORD}: "
                "the texts may name users"
            ),
            stacklevel=4,
        )


def _forget_local_paths(folder: Path) -> None:
    """Keep the last part alone of the folder that an encoder's model was read from: it says who worked where."""
    config, record = folder / CONFIG, folder / RECORD
    for file in (f for f in (config, record) if f.is_file()):
        content = json.loads(file.read_text("utf-8"))
        about = content["encoder"] if file == config else content
        for entry in (e for e in (about, (about or {}).get("spec")) if e and e.get("name") and not e.get("revision")):
            entry["name"] = re.split(r"[/\\]", entry["name"].rstrip("/\\"))[-1]
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    seal(folder, CONFIG)
