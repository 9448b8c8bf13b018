"""A disk that is full while a checkpoint is written: one line with the cause, and nothing left."""

import pytest

from plurality.errors import InputError
from plurality.models import LowRank
from plurality.rl.huggingface import export_adapters, export_baked, export_custom
from tests.cli.test_full_disk import limited, resource

LOW = LowRank(rank=2, decay=3.0)
KINDS = {
    "baked": lambda reward, out: export_baked(reward, out, user="u0"),
    "custom": lambda reward, out: export_custom(reward, out, user="u0"),
    "adapters": lambda reward, out: export_adapters(reward, out, user_ids=["u0"]),
}


@pytest.mark.parametrize("room", [300, 20_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk(kind, room, backbone, fitted, tmp_path):
    reward = fitted(LOW, backbone())
    with limited(resource.RLIMIT_FSIZE, room), pytest.raises(InputError, match=r"out: cannot be written") as caught:
        KINDS[kind](reward, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [*tmp_path.iterdir()] == []
