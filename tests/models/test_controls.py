"""The controls against closed forms, through storage and through derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap

from bench.data import optima, procedural
from bench.data.options import DatasetOptions
from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule, make_schedule
from bench.metrics.numerics.denoising import psnr_by_step
from bench.models import conformance, controls, local_score
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.suite.config import load_models
from bench.support.errors import BenchError

SCHEDULE = make_schedule("linear", 1000)
CONTROLS = {
    name: preset
    for name, preset in load_models().items()
    if preset.family in ("identity", "wiener", "wiener-pool", "memoriser", "local-score")
}


def pool(count, side=6, channels=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def fitted(family, images, **options):
    model = build(ModelSpec(family, family, options), images.shape[1], images.shape[3])
    model.fit(images, SCHEDULE)
    return model.eval()


def noisy(images, step, count=3, seed=1):
    """Return noisy images (count, C, H, W) float64 of a step, the step for each, and abar."""
    draw = torch.Generator().manual_seed(seed)
    clean = to_network(images[np.arange(count) % len(images)]).double()
    noise = torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    return SCHEDULE.q_sample(clean, step, noise), torch.full((count,), step), SCHEDULE.alphas_cumprod[step]


def x0_of(model, x, t):
    return SCHEDULE.x0_from_eps(x, t, model(x, t))


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("channels", [1, 3])
def test_conformance(name, channels):
    preset = CONTROLS[name]
    spec = ModelSpec(name, preset.family, preset.options)
    results = conformance.run(lambda: build(spec, 8, channels), 8, channels)
    assert not [r for r in results if r.status == "fail"]
    untrained = {"time", "gradients", "learning", "targets", "scale"}
    assert {r.check for r in results if r.status == "skip"} == untrained | {"attention_maps"}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_fresh_control_takes_the_shapes_of_the_stored_one(name):
    preset = CONTROLS[name]
    spec = ModelSpec(name, preset.family, preset.options)
    model = build(spec, 6, 1)
    model.fit(pool(7), SCHEDULE)
    fresh = build(spec, 6, 1)
    fresh.load_state_dict({key: value.clone() for key, value in model.state_dict().items()})
    x, t, _ = noisy(pool(7), 300)
    assert torch.equal(fresh(x, t), model(x, t))
    if name != "identity":
        with pytest.raises(RuntimeError, match="size mismatch"):
            build(spec, 8, 1).load_state_dict(model.state_dict())


def test_a_control_that_is_not_fitted_says_so():
    model = build(ModelSpec("wiener", "wiener", {}), 6, 1)
    with pytest.raises(BenchError, match="must be fitted before"):
        model(torch.zeros(1, 1, 6, 6), torch.zeros(1, dtype=torch.int64))
    with pytest.raises(BenchError, match=r"cannot be fitted to uint8 \(2, 8, 8, 1\)"):
        model.fit(pool(2, side=8), SCHEDULE)


def test_identity_returns_the_noisy_image():
    x, t, abar = noisy(pool(2), 400)
    assert torch.allclose(x0_of(fitted("identity", pool(2)), x, t), x / abar**0.5)


# SYNTHETIC tables: optimal PSNR of the Gaussian field at 32x32, beta -> sigma -> dB
OPTIMUM = {
    2.0: {1: 14.974, 0.5: 16.167, 0.2: 18.849, 0.1: 22.136, 0.05: 26.735},
    3.0: {1: 16.677, 0.5: 18.620, 0.2: 21.749, 0.1: 24.632, 0.05: 28.249},
}


def schedule_of(sigmas):
    """Return a schedule whose steps have these noise levels, peak 1, least noisy first."""
    abar = 1 / (1 + (2 * np.sort(sigmas)) ** 2)
    return Schedule(1 - abar / np.append(1.0, abar[:-1]), np.arange(len(abar)))


@pytest.mark.parametrize("beta", OPTIMUM)
def test_wiener_with_the_true_covariance_meets_the_gaussian_fields_optimum(beta):
    side, size, sigmas = 32, 32**2, sorted(OPTIMUM[beta])
    schedule = schedule_of(sigmas)
    row = np.fft.ifft2(
        4 * procedural.gaussian_spectrum(side, beta)
    ).real  # range [-1, 1]: twice the amplitude
    dy, dx = (np.subtract.outer(part, part) % side for part in np.divmod(np.arange(size), side))
    covariance = torch.from_numpy(row[dy, dx])
    model = build(ModelSpec("wiener", "wiener", {}), side, 1)
    model.fit_moments(torch.zeros(size), covariance, schedule)
    row = DatasetOptions(
        title="x", resolution=side, channels=1, family="gaussian", train=1, test=1, parameters={"beta": beta}
    )
    fields = procedural.draw(row, 0, 20)[..., 0]
    unit = torch.eye(size, dtype=torch.float64).view(size, 1, side, side)
    for step, sigma in enumerate(sigmas):
        signal = schedule.alphas_cumprod[step] ** 0.5
        matrix = schedule.x0_from_eps(unit, step, model(unit, torch.full((size,), step))).view(size, size)
        lost = torch.eye(size) - signal * matrix
        error = (lost @ covariance * lost).sum() + (1 - signal**2) * matrix.square().sum()
        assert optima.psnr(error.item() / size / 4) == pytest.approx(OPTIMUM[beta][sigma], abs=1e-3)
        noise = np.random.default_rng(step).standard_normal(fields.shape)
        x = torch.from_numpy(signal * (2 * (fields + sigma * noise) - 1))[:, None]
        found = schedule.x0_from_eps(x, step, model(x, torch.full((len(x),), step)))[:, 0] / 2 + 0.5
        np.testing.assert_allclose(
            found, optima.gaussian_denoise(fields + sigma * noise, sigma, beta), atol=1e-4
        )


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (7, 1), (60, 1), (20, 3), (200, 3)])
def test_wiener_of_images_is_the_linear_optimum_of_their_moments(count, channels):
    images = pool(count, side=4, channels=channels)
    x, t, abar = noisy(images, 350)
    rows = to_network(images).double().flatten(1).numpy()
    mean, covariance = (
        rows.mean(0),
        np.cov(rows, rowvar=False, bias=True) if count > 1 else np.zeros((16, 16)),
    )
    total = abar * covariance + (1 - abar) * np.eye(len(covariance))
    centred = x.flatten(1).numpy() - abar**0.5 * mean
    expected = mean + abar**0.5 * np.linalg.solve(total, centred.T).T @ covariance
    found = x0_of(fitted("wiener", images), x, t).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_which_images_a_control_is_fitted_to():
    fits = {name: build(ModelSpec(name, p.family, p.options), 8, 1).fits for name, p in CONTROLS.items()}
    assert fits.pop("wiener-pool") == "pool" and set(fits.values()) == {"subset"}
    images = pool(30, side=4)
    x, t, _ = noisy(images, 350)
    assert torch.equal(fitted("wiener-pool", images)(x, t), fitted("wiener", images)(x, t))


def test_controls_of_vectors():
    """A mixture of two points in three dimensions: the memoriser's posterior mean, and the line through them."""
    points = np.array([[0.5, -0.5, 0.25], [-0.5, 0.5, 0.75]], np.float32)
    x = torch.tensor([[0.3, 0.1, 0.4]], dtype=torch.float64)[:, :, None, None]
    t, abar = torch.tensor([600]), float(SCHEDULE.alphas_cumprod[600])
    known = torch.from_numpy(points).double()
    model = build(ModelSpec("memoriser", "memoriser", {}), 1, 3)
    model.fit(points, SCHEDULE)
    weights = (-(x.flatten() - abar**0.5 * known).square().sum(1) / (2 * (1 - abar))).softmax(0)
    assert torch.allclose(x0_of(model, x, t).flatten(), weights @ known, atol=1e-6)
    line = build(ModelSpec("wiener", "wiener", {}), 1, 3)
    line.fit(points, SCHEDULE)
    mean, half = known.mean(0), (known[0] - known[1]) / 2
    along = abar**0.5 * (half @ (x.flatten() - abar**0.5 * mean)) / (abar * half @ half + 1 - abar)
    assert torch.allclose(x0_of(line, x, t).flatten(), mean + along * half, atol=1e-6)
    with pytest.raises(BenchError, match=r"A control for float32 images \(N, 3\) cannot be fitted to uint8"):
        line.fit(pool(2, side=1, channels=3), SCHEDULE)


def test_memoriser_of_two_points():
    images = np.array([[-0.6], [0.6]], np.float32)
    model = build(ModelSpec("memoriser", "memoriser", {}), 1, 1)
    model.fit(images, SCHEDULE)
    t = torch.tensor([600, 600, 200])
    x = torch.tensor([0.3, 0.0, -0.1], dtype=torch.float64).view(3, 1, 1, 1)
    abar = torch.from_numpy(SCHEDULE.alphas_cumprod)[t].view(3, 1, 1, 1)
    expected = 0.6 * torch.tanh(0.6 * abar.sqrt() * x / (1 - abar))
    assert torch.allclose(x0_of(model, x, t), expected, atol=1e-6)


def test_memoriser_in_blocks_is_the_memoriser_at_once(monkeypatch):
    images = pool(50)
    model = fitted("memoriser", images)
    for step in (0, 500, 999):
        x, t, _ = noisy(images, step)
        whole = model(x, t)
        monkeypatch.setattr(controls, "BLOCK", 7 * 36)
        assert torch.allclose(model(x, t), whole, atol=1e-10)
        monkeypatch.undo()


def test_memoriser_has_the_ceiling_on_its_own_images():
    images = pool(5, side=8)
    found = psnr_by_step([fitted("memoriser", images)], SCHEDULE.respace(50), [to_network(images)])[0, 0, 0]
    ceiling = 10 * np.log10(12 * 255**2)
    assert np.abs(found[:, 0] - ceiling).max() < 1e-6 and np.isfinite(found).all()


def test_memorisers_jacobian_is_the_posterior_covariance():
    images, step = pool(6), 700
    x, t, abar = noisy(images, step, count=1)
    model = fitted("memoriser", images)
    found = jacrev(lambda z: x0_of(model, z, t))(x).view(36, 36)
    rows = to_network(images).double().flatten(1)
    weights = (-((x.flatten() - abar**0.5 * rows) ** 2).sum(1) / (2 * (1 - abar))).softmax(0)
    centred = rows - weights @ rows
    expected = (centred.T * weights) @ centred * abar**0.5 / (1 - abar)
    assert torch.allclose(found, expected, atol=1e-6 * expected.abs().max().item())


def by_hand(images, x, abar, patch, source):
    """The score machine that answers with the centre, pixel by pixel and candidate by candidate."""
    side, half = x.shape[-1], patch // 2
    known = to_network(images).double()
    places = [(r, c) for r in range(side) for c in range(side)]
    around = torch.nn.functional.pad(x, (half,) * 4, mode="circular") if source == "inside" else None

    def cut(r, c):
        return [slice(max(i - half, 0), i + half + 1) for i in (r, c)]

    def compared(one, two):
        if source == "place":
            return one == two
        near = [(min(i, half), min(side - 1 - i, half)) for i in (*one, *two)]
        return near[:2] == near[2:]

    out = torch.empty_like(x)
    for r, c in places:
        if source == "inside":  # the noisy image goes on at its other end; candidates lie inside
            own = around[:, :, r : r + patch, c : c + patch].flatten(1)
            others = [p for p in places if all(half <= i < side - half for i in p)]
        else:
            own = x[(..., *cut(r, c))].flatten(1)
            others = [p for p in places if compared((r, c), p)]
        patches = torch.cat([known[(..., *cut(*p))].flatten(1) for p in others])
        centres = torch.cat([known[:, :, p[0], p[1]] for p in others])
        distance = (own[:, None] - abar**0.5 * patches).square().sum(-1)
        out[:, :, r, c] = (-distance / (2 * (1 - abar))).softmax(1) @ centres
    return out


def means_by_hand(images, x, abar, patch, source):
    """Every patch's own posterior mean, added up where they overlap; with ``inside`` they go round the image."""
    side = x.shape[-1]
    known = to_network(images).double()
    inner = [(r, c) for r in range(side - patch + 1) for c in range(side - patch + 1)]
    asked = [(r, c) for r in range(side) for c in range(side)] if source == "inside" else inner
    total, count = torch.zeros_like(x), torch.zeros(side, side)
    for place in asked:
        rows, columns = (torch.arange(i, i + patch) % side for i in place)
        own = x[:, :, rows[:, None], columns].flatten(1)
        others = [place] if source == "place" else inner
        patches = torch.cat([known[:, :, r : r + patch, c : c + patch].flatten(1) for r, c in others])
        distance = (own[:, None] - abar**0.5 * patches).square().sum(-1)
        mean = (-distance / (2 * (1 - abar))).softmax(1) @ patches
        total[:, :, rows[:, None], columns] += mean.view(len(x), -1, patch, patch)
        count[rows[:, None], columns] += 1
    return total / count


SOURCES = ["place", "border", "inside"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("patch", "channels"), [(1, 1), (3, 1), (3, 3), (5, 1), (7, 2)])
def test_local_score_is_its_definition(patch, channels, source):
    images = pool(4, side=8, channels=channels)
    model = fitted("local-score", images, patches=[patch], source=source)
    x, t, abar = noisy(images, 300)
    assert torch.allclose(x0_of(model, x, t), by_hand(images, x, abar, patch, source), atol=1e-6)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("patch", "channels"), [(1, 1), (3, 2), (4, 1), (7, 1), (8, 1)])
def test_patch_posterior_means_are_their_definition(patch, channels, source):
    images = pool(4, side=8, channels=channels)
    model = fitted("local-score", images, patches=[patch], source=source, response="mean")
    x, t, abar = noisy(images, 300)
    assert torch.allclose(x0_of(model, x, t), means_by_hand(images, x, abar, patch, source), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"source": "place"}, {"source": "border"}, {"source": "place", "response": "mean"}]
)
def test_a_patch_of_the_whole_image_memorises(options):
    images = pool(9, channels=3)
    model = fitted("local-score", images, patches=[99], **options)
    for step in (100, 600):
        x, t, _ = noisy(images, step)
        assert torch.allclose(model(x, t), fitted("memoriser", images)(x, t), atol=1e-6)


@pytest.mark.parametrize("response", ["centre", "mean"])
@pytest.mark.parametrize("source", SOURCES)
def test_blocks_change_nothing_and_bound_what_is_in_memory(source, response, monkeypatch):
    images = pool(30, side=8)
    model = fitted("local-score", images, patches=[5], source=source, response=response)
    x, t, _ = noisy(images, 300, count=4)
    whole, largest = model(x, t), []
    monkeypatch.setattr(local_score, "BLOCK", 4000)
    add = controls.SoftmaxMean.add
    monkeypatch.setattr(
        controls.SoftmaxMean,
        "add",
        lambda self, logits, values: (largest.append(logits.numel()), add(self, logits, values)),
    )
    assert torch.allclose(model(x, t), whole, atol=1e-10)
    assert max(largest) <= 4000 and len(largest) > 30


def test_estimates_by_patch_are_those_of_each_size():
    images = pool(6)
    x, t, _ = noisy(images, 300)
    for estimate, size in zip(
        fitted("local-score", images).by_patch(x, t, [1, 3, 5]), (1, 3, 5), strict=True
    ):
        own = fitted("local-score", images, patches=[size])
        assert torch.allclose(estimate, x0_of(own, x, t), atol=1e-8)


def test_patch_sizes_follow_the_noise_level():
    images = pool(4)
    x, _, _ = noisy(images, 300, count=4)
    t = torch.tensor([999, 0, 499, 500])
    mixed = fitted("local-score", images, patches=[3, 7])(x, t)
    small, large = (fitted("local-score", images, patches=[size])(x, t) for size in (3, 7))
    assert torch.allclose(mixed, torch.stack([large[0], small[1], small[2], large[3]]), atol=1e-10)


def test_every_pixel_stands_in_one_group():
    for patch, sizes in ((1, {64}), (3, {36, 6, 1}), (7, {4, 2, 1}), (9, {1}), (15, {1})):
        groups = [asked for asked, _ in local_score.groups(8, patch, "border", "centre")]
        assert sorted(torch.cat([g.flatten() for g in groups]).tolist()) == list(range(64))
        assert {g.shape[1] for g in groups} == sizes


@pytest.mark.parametrize("response", ["centre", "mean"])
def test_the_equivariant_machine_commutes_with_shifts(response):
    images = pool(5, side=8)
    model = fitted("local-score", images, patches=[3], source="inside", response=response)
    x, t, _ = noisy(images, 400)
    assert torch.allclose(model(x.roll((2, 5), (2, 3)), t), model(x, t).roll((2, 5), (2, 3)), atol=1e-8)
    broken = fitted("local-score", images, patches=[3], response=response)
    assert not torch.allclose(broken(x.roll((2, 5), (2, 3)), t), broken(x, t).roll((2, 5), (2, 3)), atol=1e-3)


def test_covariance_locality():
    """Two independent halves: a pixel sees its own half only, so the estimate is a posterior mean for each half."""
    rng = np.random.default_rng(0)
    left, right = (np.repeat(rng.integers(60, 200, (40, 1, 1)), 4, axis=1) for _ in range(2))
    images = np.concatenate([left.repeat(2, 2), right.repeat(2, 2)], axis=2)[..., None].astype(np.uint8)
    model = fitted("local-score", images, query="covariance", source="place", threshold=0.6)
    x, t, abar = noisy(images, 300)
    found = x0_of(model, x, t)
    known = to_network(images).double()
    for half in (slice(0, 2), slice(2, 4)):
        a, b = x[..., half].flatten(1), known[..., half].flatten(1)
        weights = (-(a[:, None] - abar**0.5 * b).square().sum(-1) / (2 * (1 - abar))).softmax(1)
        assert torch.allclose(found[..., half].flatten(1), weights @ b, atol=1e-5)


@pytest.mark.parametrize("name", CONTROLS)
def test_derivatives_in_a_batch_of_directions(name):
    images = pool(5)
    model = fitted(CONTROLS[name].family, images, **CONTROLS[name].options)
    x, t, _ = noisy(images, 500, count=1)
    matrix = jacrev(lambda z: model(z, t))(x).view(36, 36)
    directions = torch.eye(36, dtype=torch.float64).view(36, 1, 1, 6, 6)
    pushed = vmap(lambda v: torch.func.jvp(lambda z: model(z, t), (x,), (v,))[1])(directions)
    assert torch.allclose(pushed.view(36, 36).T, matrix, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patches": [4]}, "patches with a centre have odd sizes"),
        ({"patches": []}, "'patches' must be a list of sizes in pixels"),
        ({"query": "covariance"}, "query: covariance requires source: place"),
        ({"threshold": 0.0}, r"'threshold' must be a number in \(0, 1\]"),
        ({"source": "nearby"}, "one of 'place', 'border', 'inside'"),
    ],
)
def test_wrong_options_are_one_sentence(options, words):
    with pytest.raises(BenchError, match=words):
        build(ModelSpec("mine", "local-score", options), 8, 1)
