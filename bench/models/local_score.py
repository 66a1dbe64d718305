"""The local score machines: posterior means that look at a neighbourhood only, in closed form.

``patch`` (Kamb & Ganguli 2025, arXiv 2412.20292): a pixel's estimate is the posterior mean over the centres of
all training patches, given the noisy patch around it.  With translations a patch may come from any place; a patch
that the image's border cuts is compared with patches cut alike (their "boundary-broken" equivariant machine).
``covariance`` (Lukoianov et al. 2025, arXiv 2509.09672): the neighbourhood is read off the linear optimum.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.data.pixels import to_network
from bench.diffusion.schedule import Schedule
from bench.models.controls import Control, Memoriser, SoftmaxMean, Wiener
from bench.models.options import Must, Odd, Share
from bench.models.registry import register_model

Patches = Annotated[Sequence[Odd], Must("a list of odd sizes in pixels", len)]
BLOCK = 2**20  # elements of the largest intermediate array; a derivative by vmap multiplies it by its chunk


@functools.lru_cache(maxsize=64)
def location_groups(side: int, patch: int, translations: bool) -> list[Tensor]:
    """Return pixels (g, s), as indices into the flat image: s pixels that share their candidates, g such sets.

    With translations two pixels share them when their patches are cut alike by the border; each pixel stands
    in exactly one set.
    """
    if not translations:
        return [torch.arange(side**2)[:, None]]
    place = np.arange(side)
    half = patch // 2
    inside = (place >= half) & (place < side - half)
    kind = np.where(inside, half, place)  # rows, or columns, that the border cuts alike
    kinds = kind[:, None] * side + kind
    sets: dict[int, list[np.ndarray]] = {}
    for name in np.unique(kinds):
        members = np.flatnonzero(kinds == name)
        sets.setdefault(len(members), []).append(members)
    return [torch.from_numpy(np.stack(group)) for group in sets.values()]


class PatchScore(Memoriser):
    """Posterior mean over patches of the N images. Computes in the precision of ``x``.

    ``patches``: odd sizes in pixels, from the least noisy to the most noisy of equal sections of the process; a
    size of at least 2 side - 1 sees the whole image from everywhere.
    Work per image and step: N (H W)^2 C patch^2 multiply-adds with translations, N H W C patch^2 without.
    """

    def __init__(self, image_size: int, channels: int, patches: list[int], translations: bool) -> None:
        super().__init__(image_size, channels)
        self.patches, self.translations = list(patches), translations

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        section = t * len(self.patches) // len(self.alphas_cumprod)
        found, rows = [], []
        for number in section.unique().tolist():
            chosen = (section == number).nonzero()[:, 0]
            patch = min(self.patches[number], 2 * self.image_size - 1)
            for part in chosen.split(self._batch(patch)):
                found.append(self._posterior(x[part], abar[part].to(x), patch))
                rows.append(part)
        return torch.cat(found)[torch.cat(rows).argsort()]

    def _groups(self, patch: int) -> list[Tensor]:
        groups = location_groups(self.image_size, patch, self.translations)
        return [group.to(self.images.device) for group in groups]

    def _largest(self, patch: int) -> int:
        """Return the elements of the largest array for one noisy image and one known image."""
        unfolded = self.channels * patch**2 * self.image_size**2
        groups = location_groups(self.image_size, patch, self.translations)
        return max(unfolded, *(group.numel() * group.shape[1] for group in groups))

    def _batch(self, patch: int) -> int:
        return max(1, BLOCK // self._largest(patch))

    def _posterior(self, x: Tensor, abar: Tensor, patch: int) -> Tensor:
        """Return the estimate (B, C, H, W) for noisy images ``x``; ``abar`` (B, 1, 1, 1)."""
        groups = self._groups(patch)
        posteriors = [SoftmaxMean() for _ in groups]
        queries = _patches(x, patch)
        # logits are linear in the noisy patch once its own norm, the same for all candidates, is left out
        signal, level = (abar.sqrt() / (1 - abar)).view(-1, 1, 1), (abar / (2 * (1 - abar))).view(-1, 1, 1)
        for images in self.images.split(max(1, self._batch(patch) // len(x))):
            known = to_network(images).to(x)
            candidates, centres = _patches(known, patch), known.flatten(2)
            norms = candidates.square().sum(1)
            for posterior, group in zip(posteriors, groups):
                products = _stack(signal * queries, group).transpose(1, 2) @ _stack(candidates, group)
                norm = norms[:, group].permute(1, 0, 2).flatten(1)  # (g, n s)
                scale = level.expand(-1, 1, group.shape[1]).reshape(1, -1, 1)  # (1, B s, 1)
                posterior.add(products - scale * norm[:, None], _stack(centres, group).transpose(1, 2))
        return _unstack([posterior.mean() for posterior in posteriors], groups, x)


def _patches(images: Tensor, patch: int) -> Tensor:
    """Return the patches (B, C patch^2, H W) around all pixels; what lies outside is 0 on both sides and no evidence."""
    return F.unfold(images, patch, padding=patch // 2)


def _stack(values: Tensor, group: Tensor) -> Tensor:
    """Return (B, K, H W) at the pixels of a group (g, s) as (g, K, B s)."""
    return values[:, :, group].permute(2, 1, 0, 3).flatten(2)


def _unstack(means: list[Tensor], groups: list[Tensor], like: Tensor) -> Tensor:
    """Return the means (g, B s, C) of all groups (g, s) as images (B, C, H, W)."""
    batch, channels = like.shape[:2]
    parts = [
        mean.view(len(group), batch, -1, channels).permute(1, 3, 0, 2).flatten(2)
        for mean, group in zip(means, groups)
    ]
    back = torch.cat([group.flatten() for group in groups]).argsort()
    return torch.cat(parts, dim=2)[:, :, back].view_as(like)


class CovarianceScore(Memoriser):
    """Posterior mean of each pixel over the N images, given the noisy pixels that the linear optimum uses for it.

    Pixel q sees pixel p where |W_qp / W_qq| is at least ``threshold`` of its largest value, W the Wiener matrix at
    this noise level.  Without translations: candidates are the same pixel of the N images, as in the source.
    Work per image and step: N d^2 multiply-adds, d = C H W.
    """

    def __init__(self, image_size: int, channels: int, threshold: float) -> None:
        super().__init__(image_size, channels)
        self.threshold = threshold
        self.linear = Wiener(image_size, channels)

    def fit(self, images: np.ndarray, schedule: Schedule) -> None:
        """Keep the images and fit their covariance."""
        super().fit(images, schedule)
        self.linear.fit(images, schedule)

    def mask(self, abar: Tensor) -> Tensor:
        """Return which pixel (columns) is seen for which (rows), (d, d) of 0 and 1, at one level ``abar`` (1, 1)."""
        basis = self.linear.basis.double()
        matrix = (basis.T * self.linear.gains(abar)) @ basis
        own = matrix.diagonal()[:, None]
        share = torch.where(
            own > 1e-6 * own.max(), matrix / own, 0
        ).abs()  # a pixel that never varies sees none
        return (share >= self.threshold * share.max()) & (share > 0)

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        found, rows = [], []
        for level in t.unique():
            chosen = (t == level).nonzero()[:, 0]
            found.append(self._posterior(x[chosen], abar[chosen[:1]].flatten(1)))
            rows.append(chosen)
        return torch.cat(found)[torch.cat(rows).argsort()]

    def _posterior(self, x: Tensor, abar: Tensor) -> Tensor:
        """Return the estimate for noisy images of one level ``abar`` (1, 1)."""
        mask, abar = self.mask(abar).to(x), abar.to(x)
        noisy, posterior = x.flatten(1), SoftmaxMean()
        for block in self.images.split(max(1, BLOCK // x.numel())):
            known = to_network(block).to(x).flatten(1)
            norms = mask @ known.square().T  # (d, n)
            products = torch.stack([(mask * one) @ known.T for one in noisy], dim=1)  # (d, B, n)
            logits = (abar.sqrt() * products - abar / 2 * norms[:, None]) / (1 - abar)
            posterior.add(logits, known.T[:, :, None])
        return posterior.mean()[..., 0].T.reshape(x.shape)


@register_model("local-score")
def local_score(
    image_size: int,
    channels: int,
    locality: Literal["patch", "covariance"] = "patch",
    patches: Patches = (3,),
    translations: bool = True,
    threshold: Share = 0.02,
) -> Control:
    """Build a local score machine; ``patches`` and ``translations`` belong to ``patch``, ``threshold`` to ``covariance``."""
    if locality == "covariance":
        return CovarianceScore(image_size, channels, threshold)
    return PatchScore(image_size, channels, patches, translations)
