"""The figures and tables that a suite can ask for."""

from __future__ import annotations

from dataclasses import dataclass

from bench.suite.fingerprint import fingerprint


@dataclass(frozen=True)
class Item:
    """``kind`` is figure or table; ``subject`` says in a few words what it shows; ``module`` holds ``draw`` or
    ``build``; ``arrays`` are the ``.npz`` files of each run that it reads beside the tidy table; ``measures`` are
    the measurements that it draws, the one that it needs of each run first (``training`` is the run itself); ``paper``
    says what the paper's own item shows, and is empty where the
    paper has none."""

    kind: str
    title: str
    subject: str
    module: str
    arrays: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    paper: str = ""


EVERY = ("psnr", "jacobian", "attention", "frechet", "memorization", "halves", "along", "cost")

ITEMS = {
    "fig1": Item(
        "figure",
        "Figure 1",
        "Jacobian eigenvectors of three denoisers",
        "bench.report.figures.fig1",
        ("jacobian",),
        measures=("jacobian",),
        paper="a one-channel UNet, a UNet and a DiT on CelebA",
    ),
    "fig2": Item(
        "figure",
        "Figure 2",
        "PSNR and PSNR gap by step",
        "bench.report.figures.fig2",
        measures=("psnr",),
        paper="UNet and DiT-XS/1 on CelebA, N = 1,000, 10,000 and 100,000, three shuffles, 300 images",
    ),
    "fig3": Item(
        "figure",
        "Figure 3",
        "Jacobian eigenvectors and spectra at small and large N",
        "bench.report.figures.fig3",
        ("jacobian",),
        measures=("jacobian", "cost"),
        paper="UNet and DiT-XS/1 on CelebA, N = 10 and 100,000",
    ),
    "fig4": Item(
        "figure",
        "Figure 4",
        "Attention maps by layer and N",
        "bench.report.figures.fig4",
        ("attention",),
        measures=("attention",),
        paper="DiT-XS/1 on CelebA, N = 10, 1,000 and 100,000",
    ),
    "fig5": Item(
        "figure",
        "Figure 5",
        "Global and local attention",
        "bench.report.figures.fig5",
        paper="a 4x4 grid and a 3x3 window",
    ),
    "fig6": Item(
        "figure",
        "Figure 6",
        "PSNR gap with and without local attention",
        "bench.report.figures.fig6",
        measures=("psnr",),
        paper="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 1,000, 10,000 and 100,000",
    ),
    "fig7": Item(
        "figure",
        "Figure 7",
        "PSNR gap by placement of local attention",
        "bench.report.figures.fig7",
        measures=("psnr",),
        paper="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
    ),
    "fig8": Item(
        "figure",
        "Figure 8",
        "PSNR gap by window size",
        "bench.report.figures.fig8",
        measures=("psnr",),
        paper="DiT-XS/1 on CelebA and ImageNet, N = 1,000, 10,000 and 100,000",
    ),
    "tab1": Item(
        "table",
        "Table 1",
        "Distance of samples with and without local attention",
        "bench.report.tables.tab1",
        measures=("frechet", "psnr"),
        paper="DiT-XS/1 and DiT-S/1 on CelebA, ImageNet and four LSUN categories, 32x32, N = 10,000 and 100,000",
    ),
    "tab2": Item(
        "table",
        "Table 2",
        "Distance of samples by placement",
        "bench.report.tables.tab2",
        measures=("frechet",),
        paper="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
    ),
    "tab3": Item(
        "table",
        "Table 3",
        "Distance of samples by window size",
        "bench.report.tables.tab3",
        measures=("frechet",),
        paper="DiT-XS/1 on CelebA and ImageNet, N = 10,000 and 100,000",
    ),
    "tabCapacity": Item(
        "table", "Table A3", "Capacity control", "bench.report.tables.capacity", measures=("psnr",)
    ),
    "tabClaims": Item(
        "table", "Claims", "Sentences of the papers, judged", "bench.report.tables.claims", measures=EVERY
    ),
    "tabQuality": Item(
        "table",
        "Quality",
        "What is impossible in the runs, and what is undertrained",
        "bench.report.tables.quality",
        ("psnr",),
        measures=EVERY,
    ),
    "tabProtocol": Item(
        "table", "Protocol", "Settings, and which are assumed", "bench.report.tables.protocol"
    ),
}

# The appendix of this project; the paper's own could not be obtained.
_FIGURES = (
    ("Jacobian spectra with and without local attention", ("jacobian",), ()),
    ("Spectra over noise levels, against PCA and DCT", ("jacobian",), ()),
    ("Noise prediction against image estimate: Jacobians of one network", ("jacobian",), ()),
    ("Locality of attention in numbers, by layer and N", ("attention",), ()),
    ("Locality of attention along training", ("along",), ()),
    ("Sensitivity of Fig. 4 to its colour threshold", ("attention",), ("attention",)),
    ("Pixel-permutation control", ("psnr",), ()),
    ("PSNR against input noise, with C-alpha slopes", ("psnr",), ("psnr",)),
    ("Two networks on disjoint halves", ("halves",), ()),
    ("Share of copied samples", ("memorization",), ()),
    ("Samples and their nearest training images", ("memorization", "frechet"), ("samples", "memorization")),
    ("Training curves", ("training",), ()),
    ("Cost against quality", ("psnr", "cost"), ()),
    ("Shape of the leading eigenvectors in numbers", ("jacobian",), ()),
)
_TABLES = (
    (
        "A1",
        "All models, UNets and controls among them",
        "overview",
        ("psnr", "frechet", "memorization", "cost"),
    ),
    ("A2", "Measures of samples beside one distance", "distances", ("frechet", "memorization")),
    ("A4", "Families at equal parameters and at equal multiply-adds", "equal", ("psnr", "cost")),
    ("A5", "Conditioning blocks of DiT", "variants", ("psnr", "frechet")),
    ("A6", "Ablation of U-DiT", "variants", ("psnr", "frechet")),
    ("A7", "Encoder against decoder (ASCEND, IU-ViT)", "variants", ("psnr", "frechet")),
)
ITEMS |= {
    f"figA{n}": Item("figure", f"Figure A{n}", subject, f"bench.report.figures.figA{n}", arrays, measures)
    for n, (subject, measures, arrays) in enumerate(_FIGURES, start=1)
}
ITEMS |= {
    f"tab{n}": Item("table", f"Table {n}", subject, f"bench.report.tables.{module}", measures=measures)
    for n, subject, module, measures in _TABLES
}


def category(name: str) -> str:
    """Return the heading that an item stands under in the report and on the site."""
    if name in ("tabClaims", "tabQuality", "tabProtocol"):
        return "Claims, quality, protocol"
    kind = f"{ITEMS[name].kind}s"
    return f"Appendix {kind}" if name[3] in "AC" else f"Paper {kind}"


def code_of(name: str) -> str:
    """Return the fingerprint of the code that an item depends on."""
    return fingerprint("bench.report.render", ITEMS[name].module)
