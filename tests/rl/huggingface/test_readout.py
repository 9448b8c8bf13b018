"""FeatureReadout against the heads themselves on embeddings it was not solved on, and weights against autograd."""

import pytest
import torch

from plurality.errors import InputError
from plurality.models import DPL, PAL, VPL, BradleyTerry, LowRank, MaxMin
from plurality.rl.huggingface.readout import FeatureReadout

WIDTH = 6
LINEAR = {
    "bradley_terry": BradleyTerry(),
    "temperature": BradleyTerry(temperature=True),
    "deviations": LowRank(rank=3),
    "wide": LowRank(rank=6),
    "simplex": LowRank(rank=3, weights="simplex"),
    "dpl": DPL(),
    "maxmin": MaxMin(n_groups=3),
}
CURVED = {
    "hidden": BradleyTerry(hidden=5),
    "pal": PAL(n_prototypes=3, preference=4),
    "pal, more dimensions than the embedding": PAL(n_prototypes=3, preference=9),
    "pal, hidden": PAL(n_prototypes=3, preference=4, hidden=5),
    "vpl": VPL(n_codes=3, n_features=4),
}
NEITHER = {
    "norm": PAL(n_prototypes=3, utility="norm"),
    "prompt": PAL(form="B"),
    "angle": PAL(form="B", utility="angle"),
    "joint": VPL(n_features=4, hidden=5),
    "quantile": DPL(quantile=0.2),
    "categorical": DPL(kind="categorical"),
}


def head_of(spec):
    """A head with every weight drawn, far from 0, on inputs of some mean and scale."""
    generator = torch.Generator().manual_seed(1)
    head = spec.head(WIDTH, generator)
    with torch.no_grad():
        for weight in head.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator))
        head.projector.mean.copy_(torch.randn(WIDTH, generator=generator))
        head.projector.scale.fill_(0.3)
    return head.requires_grad_(False), torch.randn(4, head.n_codes, generator=generator, dtype=torch.float64)


def utilities(readout, x):
    f = readout.projector(x)
    parts = [torch.ones(len(f), 1, dtype=f.dtype), f] + [f.square()] * readout.squared
    return readout.rows @ torch.cat(parts, 1).T


@pytest.mark.parametrize("spec", [*LINEAR.values(), *CURVED.values()], ids=[*LINEAR, *CURVED])
def test_rows_give_the_head_s_utility_anywhere(spec):
    head, codes = head_of(spec)
    x = 2 * torch.randn(50, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    double = head.doubled()
    expected = double.population(double.features(x, None), codes)
    got = utilities(FeatureReadout.of(head, codes), x)
    torch.testing.assert_close(got, expected.expand_as(got), rtol=1e-8, atol=1e-8 * float(expected.abs().max()))
    mean = utilities(FeatureReadout.of(head, codes).mean, x)
    torch.testing.assert_close(mean[0], got.mean(0))


@pytest.mark.parametrize("spec", LINEAR.values(), ids=LINEAR)
def test_weights_are_the_gradient_of_utility(spec):
    head, codes = head_of(spec)
    double = head.doubled()
    x = torch.randn(1, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3), requires_grad=True)
    weights = FeatureReadout.of(head, codes).weights()
    for row, code in zip(weights, codes, strict=True):
        (gradient,) = torch.autograd.grad(double.utility(double.features(x, None), code[None]).sum(), x)
        torch.testing.assert_close(row, gradient[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("spec", CURVED.values(), ids=CURVED)
def test_a_curve_has_no_weights_and_is_told_which_kind_has(spec):
    head, codes = head_of(spec)
    with pytest.raises(InputError, match="choose kind custom"):
        FeatureReadout.of(head, codes).weights()


@pytest.mark.parametrize("spec", NEITHER.values(), ids=NEITHER)
def test_other_forms_are_an_error(spec):
    head, codes = head_of(spec)
    with pytest.raises(InputError, match="no checkpoint"):
        FeatureReadout.of(head, codes)


def test_an_ideal_point_infinitely_far_is_linear():
    head, codes = head_of(PAL(n_prototypes=3, preference=4))
    head.curvature.zero_()
    assert not FeatureReadout.of(head, codes).squared
    assert FeatureReadout.of(head, codes).weights().shape == (4, WIDTH)
