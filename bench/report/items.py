"""The figures and tables that a suite can ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """``kind`` is figure or table; ``module`` holds ``draw`` or ``build``; ``arrays`` are the metrics whose
    ``.npz`` it reads beside the tidy table; ``measure`` is the measurement it needs of each run; ``paper`` says what
    the paper's own item shows, and is empty where the paper has none."""

    kind: str
    title: str
    module: str
    arrays: tuple[str, ...] = ()
    measure: str = ""
    paper: str = ""


ITEMS = {
    "fig1": Item(
        "figure",
        "Figure 1",
        "bench.report.figures.fig1",
        ("jacobian",),
        measure="jacobian",
        paper="a one-channel UNet, a UNet and a DiT on CelebA",
    ),
    "fig2": Item(
        "figure",
        "Figure 2",
        "bench.report.figures.fig2",
        measure="psnr",
        paper="UNet and DiT-XS/1 on CelebA, N = 1,000, 10,000 and 100,000, three shuffles, 300 images",
    ),
    "fig3": Item(
        "figure",
        "Figure 3",
        "bench.report.figures.fig3",
        ("jacobian",),
        measure="jacobian",
        paper="UNet and DiT-XS/1 on CelebA, N = 10 and 100,000",
    ),
    "fig4": Item(
        "figure",
        "Figure 4",
        "bench.report.figures.fig4",
        ("attention",),
        measure="attention",
        paper="DiT-XS/1 on CelebA, N = 10, 1,000 and 100,000",
    ),
    "fig5": Item(
        "figure", "Figure 5", "bench.report.figures.fig5", measure="", paper="a 4x4 grid and a 3x3 window"
    ),
    "fig6": Item(
        "figure",
        "Figure 6",
        "bench.report.figures.fig6",
        measure="psnr",
        paper="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 1,000, 10,000 and 100,000",
    ),
    "fig7": Item(
        "figure",
        "Figure 7",
        "bench.report.figures.fig7",
        measure="psnr",
        paper="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
    ),
    "fig8": Item(
        "figure",
        "Figure 8",
        "bench.report.figures.fig8",
        measure="psnr",
        paper="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
    ),
    "tab1": Item(
        "table",
        "Table 1",
        "bench.report.tables.tab1",
        measure="frechet",
        paper="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 10,000 and 100,000",
    ),
    "tab2": Item(
        "table",
        "Table 2",
        "bench.report.tables.tab2",
        measure="frechet",
        paper="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
    ),
    "tab3": Item(
        "table",
        "Table 3",
        "bench.report.tables.tab3",
        measure="frechet",
        paper="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
    ),
    "tabClaims": Item("table", "Claims", "bench.report.tables.claims"),
    "tabCapacity": Item("table", "Capacity control", "bench.report.tables.capacity", measure="psnr"),
}
