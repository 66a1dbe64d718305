"""The local score machines: posterior means that look at a neighbourhood only, in closed form.

Three choices make one (Niedoba et al., arXiv 2605.24192): which noisy pixels a posterior is given, where its candidates
come from, and how posterior means become an image.

============ =====================================================================================
``query``    ``square``: a patch of the noisy image; ``covariance``: the pixels that the linear optimum uses
             (Lukoianov et al., arXiv 2509.09672)
``source``   ``place``: the same place of the N images; ``border``: every place whose patch the border cuts alike;
             ``inside``: every patch inside an image, the noisy image being continued periodically
``response`` ``centre``: each pixel from the patch around it; ``mean``: the average over all patches that hold it
============ =====================================================================================

The machines of Kamb & Ganguli (arXiv 2412.20292) answer with the centre: local (place), equivariant local (inside, for
circular padding) and boundary-broken (border, for zeros). The patch posterior means of Niedoba et al. (arXiv 2411.19339)
are squares at one place, averaged.
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
from bench.models.options import Count, Must, Share
from bench.models.registry import register_model

BLOCK = 2**20  # elements of the largest intermediate array; a derivative by vmap multiplies it by its chunk
Patches = Annotated[Sequence[Count], Must("a list of sizes in pixels", len)]
Source = Literal["place", "border", "inside"]
Response = Literal["centre", "mean"]
Group = tuple[
    Tensor, Tensor
]  # queries (g, s) and candidates (g, m): in each of g sets, all s are compared with all m


@functools.lru_cache(maxsize=64)
def groups(side: int, patch: int, source: Source, response: Response) -> list[Group]:
    """Return which places of a noisy image are compared with which of a known one; each query is in one group."""
    places = torch.arange(side**2 if response == "centre" else (side - patch + 1) ** 2)
    if source == "place":
        return [(places[:, None], places[:, None])]
    if source == "inside":
        return [(torch.arange(side**2)[None], torch.arange((side - patch + 1) ** 2)[None])]
    if response == "mean":  # only patches that no border cuts
        return [(places[None], places[None])]
    line, half = np.arange(side), patch // 2
    inside = (line >= half) & (line < side - half)
    kind = np.where(inside, half, line)  # rows, or columns, that the border cuts alike
    kinds = kind[:, None] * side + kind
    sets: dict[int, list[np.ndarray]] = {}
    for name in np.unique(kinds):
        members = np.flatnonzero(kinds == name)
        sets.setdefault(len(members), []).append(members)
    return [(group, group) for group in (torch.from_numpy(np.stack(found)) for found in sets.values())]


class PatchScore(Memoriser):
    """Posterior means over square patches of the N images, in float64.

    ``patches``: sizes in pixels, from the least noisy to the most noisy of equal sections of the process.  Sizes
    beyond the image (with ``centre`` and zeros around it, beyond 2 side - 1) see all there is.  Work per image and step:
    C patch^2 multiply-adds for each of the N images and each pair of places that is compared.  (Sums over boxes of
    shifted squared differences, whose work does not grow with the patch, are never faster: eight sizes at N = 300 take
    them 1.1 to 3.6 times as long as matrix products.)
    """

    def __init__(
        self, image_size: int, channels: int, patches: Sequence[int], source: Source, response: Response
    ) -> None:
        super().__init__(image_size, channels)
        self.patches, self.source, self.response = list(patches), source, response

    def estimate(self, x: Tensor, abar: Tensor, t: Tensor) -> Tensor:
        section = t * len(self.patches) // len(self.alphas_cumprod)
        found, rows = [], []
        for number in section.unique().tolist():
            chosen = (section == number).nonzero()[:, 0]
            found.append(self._posterior(x[chosen], abar[chosen], self.patches[number]))
            rows.append(chosen)
        return torch.cat(found)[torch.cat(rows).argsort()]

    def by_patch(self, x: Tensor, t: Tensor, patches: Sequence[int]) -> Tensor:
        """Return the estimates of x0 with each of ``patches``, (len(patches), B, C, H, W), at timesteps (B,)."""
        abar = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return torch.stack([self._posterior(x, abar, patch) for patch in patches])

    def _posterior(self, x: Tensor, abar: Tensor, patch: int) -> Tensor:
        """Return the estimate (B, C, H, W) for noisy images ``x``; ``abar`` (B, 1, 1, 1) float64."""
        patch = self._largest(patch)
        own = [
            (queries.to(x.device), candidates.to(x.device))
            for all_queries, candidates in groups(self.image_size, patch, self.source, self.response)
            for queries in all_queries.split(max(1, BLOCK // candidates.numel()), dim=1)
        ]
        unfolded = self.channels * patch**2 * self.image_size**2
        batch = max(1, BLOCK // max(unfolded, *(a.numel() * b.shape[1] for a, b in own)))
        parts = zip(x.double().split(batch), abar.split(batch))
        return torch.cat([self._of(noisy, level, patch, own, batch) for noisy, level in parts]).to(x)

    def _of(self, x: Tensor, abar: Tensor, patch: int, own: list[Group], batch: int) -> Tensor:
        """Return the estimate for a part of the noisy images, known images in blocks."""
        posteriors = [SoftmaxMean() for _ in own]
        queries = self._patches(x, patch, query=True)
        # logits are linear in the noisy patch once its own norm, the same for all candidates, is left out
        signal, level = (abar.sqrt() / (1 - abar)).view(-1, 1, 1), (abar / (2 * (1 - abar))).view(-1, 1, 1)
        for images in self.images.split(max(1, batch // len(x))):
            known = to_network(images).double()
            candidates = self._patches(known, patch, query=False)
            values = candidates if self.response == "mean" else self._centres(known, patch)
            norms = candidates.square().sum(1, keepdim=True)
            for posterior, (asked, compared) in zip(posteriors, own):
                products = _stack(signal * queries, asked).transpose(1, 2) @ _stack(candidates, compared)
                scale = level.expand(-1, 1, asked.shape[1]).reshape(1, -1, 1)  # (1, B s, 1)
                logits = products - scale * _stack(norms, compared)
                posterior.add(logits, _stack(values, compared).transpose(1, 2))
        means = _unstack([posterior.mean() for posterior in posteriors], own, len(x))
        return means.view_as(x) if self.response == "centre" else self._average(means, patch)

    def _largest(self, patch: int) -> int:
        """Return the patch size, or the largest that makes a difference."""
        side = self.image_size
        if self.response == "mean":
            return min(patch, side)
        return min(patch, side - 1 + side % 2) if self.source == "inside" else min(patch, 2 * side - 1)

    def _patches(self, images: Tensor, patch: int, query: bool) -> Tensor:
        """Return the patches (B, C patch^2, places); around pixels for ``centre``, from their first pixel for ``mean``."""
        if self.source == "inside" and query:
            before, after = (patch // 2, patch // 2) if self.response == "centre" else (0, patch - 1)
            images = F.pad(images, (before, after, before, after), mode="circular")
        # what lies outside is 0 on both sides and no evidence
        outside = patch // 2 if self.source != "inside" and self.response == "centre" else 0
        return F.unfold(images, patch, padding=outside)

    def _centres(self, images: Tensor, patch: int) -> Tensor:
        """Return the pixels (B, C, places) in the middle of the candidates."""
        half = patch // 2 if self.source == "inside" else 0
        return images[:, :, half : self.image_size - half, half : self.image_size - half].flatten(2)

    def _average(self, means: Tensor, patch: int) -> Tensor:
        """Return the image (B, C, H, W) of overlapping patches (B, C patch^2, places)."""
        side, wrapped = self.image_size, self.source == "inside"
        size = side + patch - 1 if wrapped else side
        total, count = (F.fold(part, (size, size), patch) for part in (means, torch.ones_like(means[:1])))
        if wrapped:  # what hangs over the far borders belongs to the near ones
            total, count = (_wrap(_wrap(part, side, 2), side, 3) for part in (total, count))
        return total / count


def _wrap(image: Tensor, side: int, dim: int) -> Tensor:
    """Add what lies beyond ``side`` along an axis to its beginning."""
    own, over = image.split([side, image.shape[dim] - side], dim=dim)
    shape = list(own.shape)
    shape[dim] = side - over.shape[dim]
    return own + torch.cat([over, own.new_zeros(shape)], dim=dim)


def _stack(values: Tensor, places: Tensor) -> Tensor:
    """Return (B, K, places) at the members of each set (g, s) as (g, K, B s)."""
    return values[:, :, places].permute(2, 1, 0, 3).flatten(2)


def _unstack(means: list[Tensor], own: list[Group], batch: int) -> Tensor:
    """Return the means (g, B s, K) of the queries of all groups as (B, K, places)."""
    parts = [
        mean.view(len(asked), batch, asked.shape[1], -1).permute(1, 3, 0, 2).flatten(2)
        for mean, (asked, _) in zip(means, own)
    ]
    back = torch.cat([asked.flatten() for asked, _ in own]).argsort()
    return torch.cat(parts, dim=2)[:, :, back]


class CovarianceScore(Memoriser):
    """Posterior mean of each pixel over the N images, given the noisy pixels that the linear optimum uses for it.

    Pixel q sees pixel p where |W_qp / W_qq| is at least ``threshold`` of its largest value, W the Wiener matrix at
    this noise level.  Candidates are the same pixel of the N images, as in the source.
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
    query: Literal["square", "covariance"] = "square",
    patches: Patches = (3,),
    source: Source = "border",
    response: Response = "centre",
    threshold: Share = 0.02,
) -> Control:
    """Build a local score machine; ``patches`` belong to ``square``, ``threshold`` to ``covariance``.

    Raises ValueError for an even patch without a centre, and for a covariance with another source or response than its own.
    """
    if query == "covariance":
        if (source, response) != ("place", "centre"):
            raise ValueError("query: covariance requires source: place and response: centre.")
        return CovarianceScore(image_size, channels, threshold)
    if response == "centre" and any(patch % 2 == 0 for patch in patches):
        raise ValueError(f"patches with a centre have odd sizes in pixels, not {list(patches)}.")
    return PatchScore(image_size, channels, patches, source, response)
