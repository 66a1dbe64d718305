"""Controls: denoisers in closed form that bound what a network can do. They are fitted, not trained.

With y = x_t / sqrt(abar) = x0 + sigma z, sigma^2 = (1 - abar) / abar: ``identity`` returns y itself (the floor),
``wiener`` the best linear estimate from the mean and covariance of the N images, ``wiener-pool`` that of the whole
train pool whatever N, ``memoriser`` the posterior mean over the N images as the only ones there are (the training
PSNR's ceiling).  ``local-score`` is in a file of its own.  Vectors (N, d) float32 are images of one pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule
from bench.models.registry import register_model
from bench.support.errors import BenchError

BLOCK = 2**22  # elements of a block of images, or of products with it, that are in memory at once
RANK = 1e-10  # share of the largest variance below which a direction holds rounding only


class Control(nn.Module):
    """A denoiser without parameters whose buffers :meth:`fit` fills; their first dimension may depend on N.

    A subclass gives ``estimate``.  Computes in the precision of ``x``, outside of any autocast.
    """

    trains = False
    fits = "subset"  # or "pool": which images `fit` is to be given
    alphas_cumprod: Tensor

    def __init__(self, image_size: int, channels: int) -> None:
        super().__init__()
        self.image_size, self.channels = image_size, channels
        self.register_buffer("alphas_cumprod", torch.zeros(0, dtype=torch.float64))
        self.register_load_state_dict_pre_hook(_take_lengths)

    def fit(self, images: np.ndarray, schedule: Schedule) -> None:
        """Take what the control needs of uint8 images (N, H, W, C) or float32 vectors (N, d), and of all steps.

        Raises BenchError for images of another shape or type than the control was built for.
        """
        shape, kind = self._expected()
        if images.dtype != kind or images.shape[1:] != shape or not len(images):
            raise BenchError(
                f"A control for {np.dtype(kind)} images (N, {', '.join(map(str, shape))}) cannot be fitted to "
                f"{images.dtype} {images.shape}; build it for these images."
            )
        self.fit_schedule(schedule)

    def _expected(self) -> tuple[tuple[int, ...], type]:
        """Return shape and type of one image as it is stored; one pixel is a vector."""
        if self.image_size == 1:
            return (self.channels,), np.float32
        return (self.image_size, self.image_size, self.channels), np.uint8

    def fit_schedule(self, schedule: Schedule) -> None:
        """Take abar of every step of the full process."""
        self.alphas_cumprod = torch.tensor(schedule.alphas_cumprod, device=self.alphas_cumprod.device)

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the noise (B, C, H, W) that leads from the estimate of x0 to ``x``; ``t`` (B,) of the full process."""
        if not len(self.alphas_cumprod):
            raise BenchError("A control must be fitted before it is used; call fit(images, schedule).")
        with torch.autocast(x.device.type, enabled=False):
            abar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
            x0 = self.estimate(x, abar, t)
            return (x - abar.sqrt().to(x) * x0) / (1 - abar).sqrt().to(x)

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        """Return the estimate of x0 (B, C, H, W), range [-1, 1]; ``abar`` (B, 1, 1, 1) float64 belongs to ``t``."""
        raise NotImplementedError


def _take_lengths(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Before loading, give each buffer the stored length: it depends on the images, and a fresh control has none."""
    for name, buffer in module.named_buffers(recurse=False):
        stored = state.get(prefix + name)
        if stored is not None and stored.shape[1:] == buffer.shape[1:]:
            setattr(module, name, buffer.new_zeros(stored.shape))


@register_model("identity")
class Identity(Control):
    """No denoising: the noise is predicted as zero, so that the estimate of x0 is y."""

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Return zeros (B, C, H, W)."""
        return torch.zeros_like(x)


@register_model("wiener")
class Wiener(Control):
    """The best linear estimate: mu + sum_k a l_k / (a^2 l_k + 1 - a^2) v_k v_k' (x - a mu), a = sqrt(abar).

    ``mean`` (1, d), ``values`` (r,) variances l_k and ``basis`` (r, d) eigenvectors v_k of the N images'
    covariance (1/N), those above rounding: r <= min(N - 1, d), d = C H W in this order.
    """

    mean: Tensor
    values: Tensor
    basis: Tensor

    def __init__(self, image_size: int, channels: int) -> None:
        super().__init__(image_size, channels)
        size = channels * image_size**2
        self.register_buffer("mean", torch.zeros(1, size))
        self.register_buffer("values", torch.zeros(0))
        self.register_buffer("basis", torch.zeros(0, size))

    def fit(self, images: np.ndarray, schedule: Schedule) -> None:
        """Fit the images' own mean and covariance."""
        super().fit(images, schedule)
        values = torch.from_numpy(np.array(images)).to(self.mean.device)
        mean = sum(_rows(block).sum(0) for block in _blocks(values)) / len(values)
        if len(values) > mean.numel():
            covariance = sum(_products(block, mean) for block in _blocks(values)) / len(values)
            variances, vectors = torch.linalg.eigh(covariance)
        else:  # of rank N - 1 at most: from the N x N products
            centred = _rows(values) - mean
            variances, weights = torch.linalg.eigh(centred @ centred.T / len(values))
            vectors = centred.T @ weights / (variances.clamp(min=1e-30) * len(values)).sqrt()
        self._set(mean[None], variances, vectors)

    def fit_moments(self, mean: Tensor, covariance: Tensor, schedule: Schedule) -> None:
        """Take a known mean (d,) and covariance (d, d), range [-1, 1], in place of those of images."""
        self.fit_schedule(schedule)
        self._set(mean[None], *torch.linalg.eigh(covariance.double()))

    def _set(self, mean: Tensor, values: Tensor, vectors: Tensor) -> None:
        kept = values > RANK * values.max()
        self.mean = mean.to(self.mean)
        self.values, self.basis = values[kept].to(self.mean), vectors[:, kept].T.contiguous().to(self.mean)

    def gains(self, abar: Tensor) -> Tensor:
        """Return the gain of each direction on x (B, r), float64, for ``abar`` (B, 1)."""
        return abar.sqrt() * self.values / (abar * self.values + 1 - abar)

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        abar, basis, mean = abar.flatten(1), self.basis.to(x), self.mean.to(x)
        centred = x.flatten(1) - abar.sqrt().to(x) * mean
        return (mean + (centred @ basis.T * self.gains(abar).to(x)) @ basis).view_as(x)


@register_model("wiener-pool")
class PoolWiener(Wiener):
    """The linear optimum of the whole train pool: what a network has to beat to have learned more than covariances."""

    fits = "pool"


def _rows(images: Tensor) -> Tensor:
    """Return images or vectors as float64 rows (n, d) in [-1, 1], d = C H W in this order."""
    return to_network(images).double().flatten(1)


def _products(block: Tensor, mean: Tensor) -> Tensor:
    """Return the sum of outer products of centred rows, (d, d) float64."""
    # centred before it is rounded, so that single precision is enough for the products of one block
    centred = (_rows(block) - mean).float()
    return (centred.T @ centred).double()


def _blocks(images: Tensor) -> Iterator[Tensor]:
    """Yield the images in blocks of at most BLOCK elements."""
    return iter(images.split(max(1, BLOCK // images[0].numel())))


class SoftmaxMean:
    """The mean of candidates with softmax weights, from logits that arrive in blocks, whatever their size."""

    def __init__(self) -> None:
        self.peak: Tensor | None = None
        self.weight: Tensor | float = 0.0
        self.total: Tensor | float = 0.0

    def add(self, logits: Tensor, values: Tensor) -> None:
        """Add candidates: ``logits`` (..., Q, n) and their ``values`` (..., n, C)."""
        peak = logits.detach().amax(-1, keepdim=True)
        if self.peak is not None:
            peak = torch.maximum(peak, self.peak)
            shrink = (self.peak - peak).exp()
            self.weight, self.total = self.weight * shrink, self.total * shrink
        weights = (logits - peak).exp()
        self.peak = peak
        self.weight = self.weight + weights.sum(-1, keepdim=True)
        self.total = self.total + weights @ values

    def mean(self) -> Tensor:
        """Return the mean (..., Q, C) over all candidates so far."""
        return self.total / self.weight


@register_model("memoriser")
class Memoriser(Control):
    """The posterior mean over the N training images: sum_i s_i x_i, s = softmax(-|x - a x_i|^2 / (2 (1 - a^2))).

    Works in float64 (distances at low noise are millions of standard deviations) on blocks of images: memory is
    that of the uint8 images, the B x N logits of one block at a time and BLOCK elements.  A derivative keeps the
    blocks: N d float64.
    """

    images: Tensor

    def __init__(self, image_size: int, channels: int) -> None:
        super().__init__(image_size, channels)
        shape, kind = self._expected()
        self.register_buffer("images", torch.from_numpy(np.zeros((0, *shape), kind)))

    def fit(self, images: np.ndarray, schedule: Schedule) -> None:
        """Keep the images."""
        super().fit(images, schedule)
        self.images = torch.from_numpy(np.array(images)).to(self.images.device)

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        noisy, abar = x.double().flatten(1), abar.flatten(1)
        posterior = SoftmaxMean()
        for block in _blocks(self.images):
            known = _rows(block)
            products = abar.sqrt() * (noisy @ known.T) - abar / 2 * known.square().sum(1)
            posterior.add(products / (1 - abar), known)
        return posterior.mean().view_as(x).to(x)
