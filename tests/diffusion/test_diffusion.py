"""Schedules, pointwise formulas and samplers equal the official diffusion arithmetic."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from bench.diffusion.objective import Objective, discretised_log_likelihood
from bench.diffusion.sampling import sample
from bench.diffusion.schedule import make_schedule
from bench.support.errors import BenchError


@pytest.fixture(scope="module")
def reference(fixtures):
    return np.load(fixtures / "parity" / "diffusion_math.npz", allow_pickle=False)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_schedules(reference, name):
    schedule = make_schedule(name, 1000)
    for key in ("betas", "alphas_cumprod"):
        np.testing.assert_allclose(
            getattr(schedule, key), reference[f"schedule/{name}_1000/{key}"], rtol=1e-10
        )


@pytest.mark.parametrize(
    ("name", "steps"),
    [("linear", "50"), ("linear", "ddim50"), ("cosine", "50"), ("cosine", "ddim50"), ("linear", "10")],
)
def test_respacing(reference, name, steps):
    schedule, where = make_schedule(name, 1000).respace(steps), f"respace/{name}_1000/{steps}"
    assert schedule.timesteps.tolist() == reference[f"{where}/timestep_map"].tolist()
    np.testing.assert_allclose(schedule.betas, reference[f"{where}/betas"], rtol=1e-10)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_pointwise(reference, name):
    schedule, where = make_schedule(name, 1000), f"pointwise/{name}_1000/"
    given = {
        key: torch.from_numpy(reference[where + key]) for key in ("x0", "noise", "eps_guess", "q_sample", "t")
    }
    t, x_t = given["t"], given["q_sample"]
    ours = {
        "q_sample": schedule.q_sample(given["x0"], t, given["noise"]),
        "xstart_from_eps": schedule.x0_from_eps(x_t, t, given["eps_guess"]),
        "xstart_from_eps_clipped": schedule.x0_from_eps(x_t, t, given["eps_guess"], clip=True),
        "eps_from_xstart": schedule.eps_from_x0(x_t, t, given["x0"]),
        "posterior_mean": schedule.posterior_mean(given["x0"], x_t, t),
    }
    for key, value in ours.items():
        limit = 3e-4 if "start" in key else 2e-5
        for row, expected in zip(value, torch.from_numpy(reference[where + key])):
            assert float((row - expected).abs().max() / expected.abs().max()) < limit, key
    np.testing.assert_allclose(
        schedule.posterior_log_variance[t], reference[where + "posterior_log_variance_clipped"], rtol=1e-5
    )
    large = reference[where + "fixed_large/log_variance"].reshape(len(t), -1)[:, 0]
    np.testing.assert_allclose(schedule.large_log_variance[t], large, rtol=1e-5)


@pytest.mark.parametrize(("name", "sampler"), [("ddim_eta0", "ddim"), ("ancestral", "ddpm")])
def test_sampling_loops(reference, name, sampler):
    config = json.loads(reference["config"].item())
    assert config["parameters"]["eps"] == "tanh"

    noise = torch.from_numpy(reference[f"loop/{name}/noise"])
    schedule = make_schedule("linear", 1000).respace("10")
    start = torch.from_numpy(reference[f"loop/{name}/x_T"])
    out = sample(network, schedule, start, sampler, lambda index: noise[len(schedule) - 1 - index])
    expected = torch.from_numpy(reference[f"loop/{name}/out"])
    assert float((out - expected).abs().max() / expected.abs().max()) < 2e-5


def test_sections_are_respaced_each_for_itself():
    assert make_schedule("linear", 10).respace("3,2").timesteps.tolist() == [0, 2, 4, 5, 9]
    assert make_schedule("linear", 11).respace("2,2").timesteps.tolist() == [
        0,
        5,
        6,
        10,
    ]  # the first is longer


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ("fifty", "give a count"),
        ("ddim7,3", "give a count"),
        ("11", "ask for 1 to 10"),
        ("9,1", "5 diffusion"),
    ],
)
def test_a_wrong_spacing_is_one_sentence(steps, text):
    with pytest.raises(BenchError, match=text):
        make_schedule("linear", 10).respace(steps)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_learned_variance_lies_between_posterior_and_beta(reference, name):
    schedule, where = make_schedule(name, 1000), f"pointwise/{name}_1000/"
    x_t, t = torch.from_numpy(reference[where + "q_sample"]), torch.from_numpy(reference[where + "t"])
    ours = schedule.learned_log_variance(torch.sin(3 * x_t), t)
    expected = torch.from_numpy(reference[where + "learned_range/log_variance"])
    for row, other in zip(ours, expected):
        assert float((row - other).abs().max() / other.abs().max()) < 2e-5


def test_tables_first_used_in_inference_mode_serve_training():
    schedule, t = make_schedule("linear", 1000), torch.tensor([3, 700])
    with torch.inference_mode():
        schedule.x0_from_eps(torch.zeros(2, 1, 4, 4), t, torch.zeros(2, 1, 4, 4))
    eps = torch.ones(2, 1, 4, 4, requires_grad=True)
    schedule.x0_from_eps(torch.zeros(2, 1, 4, 4), t, eps).sum().backward()
    assert eps.grad.abs().min() > 0


def test_too_many_steps_is_one_sentence():
    with pytest.raises(BenchError, match="Cannot respace 1000 diffusion steps to 2000"):
        make_schedule("linear", 1000).respace(2000)


def test_hybrid_loss_trains_the_variance_and_leaves_the_mean_to_the_mse():
    class Net(torch.nn.Module):
        learned_sigma = True

        def __init__(self):
            super().__init__()
            self.eps, self.values = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))

        def raw(self, x, t, y=None):
            return torch.cat([x * 0 + self.eps, x * 0 + self.values], dim=1)

    net, schedule = Net(), make_schedule("linear", 1000)
    x0, noise = torch.rand(4, 1, 8, 8) * 2 - 1, torch.randn(4, 1, 8, 8)
    t = torch.tensor([0, 1, 500, 999])
    value = Objective(schedule)(net, x0, t, noise)
    value.backward()
    assert net.values.grad.abs() > 0
    assert torch.allclose(net.eps.grad, (-2 * noise).mean()[None], atol=1e-6)
    assert value > torch.nn.functional.mse_loss(torch.zeros_like(noise), noise)


def test_the_likelihood_of_pixels_is_that_of_a_normal_distribution_cut_into_bins():
    x = torch.linspace(-1, 1, 256)
    normal = torch.distributions.Normal(torch.tensor(0.1), torch.tensor(0.3))
    edges = normal.cdf(torch.linspace(-1 - 1 / 255, 1 + 1 / 255, 257))
    edges[0], edges[-1] = 0, 1
    ours = discretised_log_likelihood(x, torch.tensor(0.1), torch.tensor(0.3).log())
    torch.testing.assert_close(ours.exp(), edges.diff(), rtol=1e-3, atol=1e-6)
    assert discretised_log_likelihood(x * torch.nan, x, x).isnan().all(), "the loop reports it in a sentence"


def network(x, t):
    return torch.tanh(x) * (0.6 + 0.4 * t.float().view(-1, 1, 1, 1) / 1000)


def drawn(sampler, **how):
    schedule = make_schedule("linear", 1000).respace("10")
    noise = torch.randn(11, 2, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    return sample(network, schedule, noise[10], sampler, lambda index: noise[index], **how), schedule, noise


@pytest.mark.parametrize("eta", [0.0, 0.3, 0.8])
def test_ddim_with_noise_follows_song_et_al(eta):
    out, schedule, noise = drawn("ddim", eta=eta)
    x = noise[10].double()
    for index, t in reversed([*enumerate(schedule.timesteps)]):
        abar, before = schedule.alphas_cumprod[index], schedule.alphas_cumprod_previous[index]
        x0 = ((x - (1 - abar) ** 0.5 * network(x, torch.tensor([t, t]))) / abar**0.5).clamp(-1, 1)
        eps = (x - abar**0.5 * x0) / (1 - abar) ** 0.5
        sigma = eta * ((1 - before) / (1 - abar)) ** 0.5 * (1 - abar / before) ** 0.5
        x = before**0.5 * x0 + (1 - before - sigma**2) ** 0.5 * eps + (index > 0) * sigma * noise[index]
    torch.testing.assert_close(out.double(), x, rtol=0, atol=1e-4)


def test_ddim_with_all_noise_is_ddpm():
    torch.testing.assert_close(drawn("ddim", eta=1.0)[0], drawn("ddpm")[0], rtol=0, atol=1e-4)


def test_the_large_variance_is_beta():
    """At the second step alone, whose mean is that of the small variance."""
    schedule = make_schedule("linear", 1000).respace("2")
    noise = torch.ones(1, 1, 2, 2)

    def model(x, t):
        seen.append(x)
        return 0 * x

    moves = {}
    for variance in ("small", "large"):
        seen = []
        sample(model, schedule, noise, "ddpm", lambda index: noise, variance=variance)
        moves[variance] = seen[1]
    difference = schedule.betas[1] ** 0.5 - schedule.posterior_variance[1] ** 0.5
    torch.testing.assert_close(moves["large"] - moves["small"], difference * noise, rtol=1e-3, atol=1e-6)


def test_one_step_is_enough_to_sample():
    schedule = make_schedule("linear", 1000).respace(1)
    for sampler in ("ddpm", "ddim"):
        out = sample(lambda x, t: 0 * x, schedule, torch.zeros(1, 1, 2, 2), sampler)
        assert out.isfinite().all()
