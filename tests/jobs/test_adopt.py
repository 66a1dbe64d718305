"""Networks that were trained elsewhere: adopted, opened and measured like any other run; what is wrong is one sentence."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.cli import main
from bench.data.build import build_dataset
from bench.data.options import DatasetOptions
from bench.diffusion.schedule import make_schedule
from bench.jobs.adopted import open_run
from bench.models.conformance import perturb
from bench.models.foreign import project_of
from bench.models.registry import build
from bench.models.spec import ModelSpec
from bench.results.tidy import read_tidy
from bench.suite import plan
from bench.support.errors import BenchError

STORED = Path(__file__).parent.parent / "models" / "fixtures"
NET = {"width": 8, "blocks": 1, "multipliers": [1, 2], "groups": 4, "heads": 2}
SETTINGS = [word for key, value in NET.items() for word in ("--set", f"{key}={json.dumps(value)}")]
SAID = ["--model", "unet-t16", *SETTINGS, "--schedule", "cosine", "--prediction", "v"]
diffusers = pytest.mark.skipif(
    importlib.util.find_spec("diffusers") is None,
    reason="the optional package diffusers is not installed (pip install -e '.[diffusers]')",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a built dataset and weights of a small UNet."""
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_PLAN", raising=False)
    make_dataset("disks", 8, 1)
    save_file(network().state_dict(), "net.safetensors")
    return tmp_path


def make_dataset(name: str, side: int, channels: int) -> None:
    row = DatasetOptions(
        title=name, resolution=side, channels=channels, family="disks", train=40, validation=8, test=20
    )
    build_dataset(name, row, Path("results/datasets") / name)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return perturb(build(ModelSpec("net", "unet", NET), 8, 1)).eval()


def adopt(*words: str, dataset: str = "disks", name: str = "net") -> int:
    return main(["adopt", *words, "--suite", "mine", "--dataset", dataset, "--name", name, "--like", "smoke"])


def inputs(side: int = 8, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(1)
    return torch.randn(3, channels, side, side, generator=draws), torch.tensor([0, 500, 999])


def folder(run: str) -> Path:
    return Path("results/mine/runs") / run


def test_it_is_measured_like_a_run_that_was_trained_here(place):
    assert adopt("net.safetensors", *SAID, "--train-size", "10", "--shuffle", "3") == 0
    run = "disks.net.n10.s3"
    opened, (x, t) = open_run(folder(run), "cpu"), inputs()
    schedule = make_schedule("cosine")
    with torch.no_grad():
        assert torch.equal(opened.model(x, t), schedule.eps_from_v(x, t, network()(x, t)))
    assert main(["measure", "all", run, "--suite", "mine"]) == 0
    assert main(["tidy", "--suite", "mine"]) == 0
    table = read_tidy("results/mine/tidy.csv")
    assert {"psnr_mean", "psnr_gap_mean", "frechet", "jacobian_trace", "parameters"} <= set(table["metric"])
    assert set(table[table["metric"] == "psnr_mean"]["split"]) == {"train", "validation", "test"}
    assert main(["items", "--suite", "mine"]) == 0
    assert Path("results/mine/tables/tabA1.md").exists() and Path("results/mine/tables/tabA2.md").exists()


def test_without_training_images_only_what_needs_test_images(place):
    for words in ([], ["--train-images", "all"]):
        assert adopt("net.safetensors", *SAID, *words) == 0
    runs = list(plan.load("mine").runs)
    assert runs == ["disks.net.n0.s0", "disks.net.n40.s0"]
    for run in runs:
        assert main(["measure", "all", run, "--suite", "mine"]) == 0
    unknown, known = (read_tidy(folder(run) / "measurements.csv") for run in runs)
    assert not set(unknown["split"]) & {"train", "train-test"}
    assert "jacobian_train_share" in set(known["metric"]) - set(unknown["metric"])
    for metric in ("psnr_mean", "skill_mean", "frechet", "jacobian_eigenvalue"):
        one, other = (
            t[(t["metric"] == metric) & (t["split"] != "train")]["value"].tolist() for t in (unknown, known)
        )
        assert one and one == other, metric
    with pytest.raises(BenchError, match="adopt it again with --train-images"):
        open_run(folder(runs[0]), "cpu").train_images()


def test_training_images_by_their_rows(place):
    Path("rows.txt").write_text("7\n3\n20\n")
    assert adopt("net.safetensors", *SAID, "--train-images", "rows.txt") == 0
    opened = open_run(folder("disks.net.n3.s0"), "cpu")
    assert opened.train_rows().tolist() == [7, 3, 20]
    assert np.array_equal(opened.train_images(), opened.dataset.train[[7, 3, 20]])


def test_a_schedule_of_its_own(place):
    betas = np.linspace(0.0003**0.5, 0.012**0.5, 400) ** 2
    np.save("betas.npy", betas)
    words = ["--model", "unet-t16", *SETTINGS, "--schedule", "betas.npy", "--prediction", "x0"]
    assert adopt("net.safetensors", *words) == 0
    opened = open_run(folder("disks.net.n0.s0"), "cpu")
    assert np.array_equal(opened.schedule.betas, betas) and opened.spec.training.schedule == "own"
    assert len(opened.reopen().schedule) == 400
    assert main(["measure", "psnr", "disks.net.n0.s0", "--suite", "mine"]) == 0


def test_what_needs_a_training_record_is_left_out_and_said(place, capsys):
    words = ["--suite", "mine", "--dataset", "disks", "--name", "net", "--like", "demo"]
    assert main(["adopt", "net.safetensors", *words, *SAID, "--train-images", "all"]) == 0
    said = capsys.readouterr().err
    assert "along is left out: along needs checkpoints" in said
    assert "psnr is left out: psnr.images is 32" in said
    assert {"attention", "samples", "frechet", "memorization"} <= set(
        plan.load("mine").metrics("disks.net.n40.s0")
    )


def test_it_is_never_trained_here(place, capsys):
    assert adopt("net.safetensors", *SAID) == 0
    assert main(["train", "disks.net.n0.s0", "--suite", "mine"]) == 1
    assert "was trained elsewhere" in capsys.readouterr().err


OFFICIAL = {
    "dit_adaln_zero_p2_16": lambda g: ("dit-t16", {
        "width": g["hidden_size"], "depth": g["depth"], "heads": g.get("num_heads", 1), "patch": g["patch_size"],
        "mlp_ratio": g["mlp_ratio"], "learned_sigma": True, "num_classes": g["num_classes"],
        "label_dropout": g["class_dropout_prob"],
    }),
    "u_vit_p2_16": lambda g: ("u-vit-t16", {
        "depth": g["depth"], "width": g["embed_dim"], "heads": g.get("num_heads", 1), "patch": g["patch_size"],
        "mlp_ratio": g["mlp_ratio"], "output_conv": g["conv"],
    }),
    "guided_diffusion_unet_w64": lambda g: ("adm-t16", {
        "width": g["model_channels"], "blocks": g["num_res_blocks"], "multipliers": list(g["channel_mult"]),
        "attention": list(g["attention_resolutions"]), "scale_shift": g.get("use_scale_shift_norm", False), "groups": 32,
        "head_width": None if g.get("num_head_channels", -1) == -1 else g["num_head_channels"],
        "heads": g.get("num_heads", 1), "residual_resampling": g.get("resblock_updown", False),
        "thirds": g.get("use_new_attention_order", False),
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("form", ["safetensors", "pt"])
def test_official_checkpoints(fixtures, place, name, form):
    """Weights under the official names, in a file of either kind: the run predicts what the official network does."""
    with np.load(fixtures / "parity" / f"{name}.npz", allow_pickle=False) as file:
        given = json.loads(file["config"].item())["arguments"]
        arrays = {key: torch.from_numpy(file[key]) for key in file.files if key != "config"}
    weights = {k.removeprefix("weights/"): v for k, v in arrays.items() if k.startswith("weights/")}
    assert project_of(weights) != "this project"
    if form == "pt":
        torch.save({"ema": weights, "step": 3}, "official.pt")
    else:
        save_file(weights, "official.safetensors")
    make_dataset("colour", 16, 3)
    model, options = OFFICIAL[name](given)
    words = [w for key, value in options.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    words += ["--model", model, "--schedule", "linear", "--prediction", "eps"]
    assert adopt(f"official.{form}", *words, dataset="colour") == 0
    found = open_run(folder("colour.net.n0.s0"), "cpu").model
    predict = found.raw if getattr(found, "learned_sigma", False) else found
    with torch.no_grad():
        out = predict(arrays["x"], arrays["t"], arrays.get("y"))
    assert (out - arrays["out"]).abs().max() < 1e-5 * arrays["out"].abs().max()


EDM = {"form": "ncsn++", "width": 4, "blocks": 1, "multipliers": [1, 2, 1], "attention": [2]}
EDM_LABELS = {"form": "ddpm++", "width": 8, "blocks": 1, "multipliers": [1, 2], "num_classes": 3}


def adopt_edm(stored: str, options: dict, schedule: str = "linear") -> int:
    """Adopt one of the stored networks of EDM from a file under its own names."""
    with np.load(STORED / f"{stored}.npz", allow_pickle=False) as file:
        save_file(
            {k.removeprefix("weights/"): torch.from_numpy(file[k]) for k in file.files if "/" in k},
            "edm.safetensors",
        )
    make_dataset("colour", 16, 3)
    words = [w for key, value in options.items() for w in ("--set", f"{key}={json.dumps(value)}")]
    words += ["--model", "edm-32-ddpmpp", "--schedule", schedule, "--prediction", "eps"]
    return adopt("edm.safetensors", *words, "--train-images", "all", dataset="colour", name="edm")


def test_a_network_of_edm_is_measured_and_denoises_as_the_official_one_does(place):
    assert adopt_edm("edm_ncsnpp", EDM) == 0
    run = open_run(folder("colour.edm.n40.s0"), "cpu")
    with np.load(STORED / "edm_ncsnpp.npz", allow_pickle=False) as file:
        x, t, denoised = (torch.from_numpy(file[key]) for key in ("x", "t", "denoised"))
    with torch.no_grad():
        found = run.schedule.x0_from_eps(x.double(), t, run.model(x, t).double())
    assert (found - denoised)[:4].abs().max() < 1e-5 * denoised[:4].abs().max()  # the last is all noise
    assert main(["measure", "all", "colour.edm.n40.s0", "--suite", "mine"]) == 0
    assert {"psnr_gap_mean", "frechet"} <= set(
        read_tidy(folder("colour.edm.n40.s0") / "measurements.csv")["metric"]
    )


@pytest.mark.parametrize(
    ("options", "schedule", "message"),
    [
        (EDM_LABELS, "linear", "a network of 3 classes without a null label"),
        (
            {**EDM_LABELS, "label_dropout": 0.1, "blocks": 2},
            "linear",
            "the network's is (16, 32, 3, 3); give the options",
        ),
        (
            {**EDM_LABELS, "label_dropout": 0.1, "multipliers": [1, 1]},
            "linear",
            "has the shape (8, 24, 3, 3), the",
        ),
        ({**EDM_LABELS, "label_dropout": 0.1}, "cosine", "set its options schedule: cosine"),
        (
            {**EDM_LABELS, "label_dropout": 0.1},
            "betas.npy",
            "give --schedule linear or cosine, not betas.npy",
        ),
    ],
)
def test_a_network_of_edm_with_other_options(place, capsys, options, schedule, message):
    np.save("betas.npy", np.linspace(0.001, 0.02, 300))
    assert adopt_edm("edm_ddpmpp", options, schedule) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in said and said.endswith(".") and not Path("results/mine").exists()


def damaged(change) -> None:
    state = network().state_dict()
    change(state)
    save_file(state, "bad.safetensors")


class Code:
    """What a pickle may hold."""


BAD = {
    "a missing name": (lambda: damaged(lambda s: s.pop("head.bias")), SAID, "lacks 'head.bias' (1 of"),
    "a name too many": (lambda: damaged(lambda s: s.update(more=torch.ones(1))), SAID, "the network has no 'more'"),
    "another shape": (
        lambda: damaged(lambda s: s.update({"head.bias": torch.ones(2)})), SAID, "'head.bias' has the shape (2,), the",
    ),
    "not finite": (
        lambda: damaged(lambda s: s.update({"head.bias": torch.tensor([torch.nan])})), SAID, "'head.bias' holds values",
    ),
    "cut short": (
        lambda: Path("bad.safetensors").write_bytes(Path("net.safetensors").read_bytes()[:-9]), SAID, "is damaged or",
    ),
    "absent": (lambda: None, SAID, "bad.safetensors is neither a file of weights nor"),
    "no options": (lambda: damaged(len), SAID[2:], "without options; give --model"),
    "no schedule": (lambda: damaged(len), SAID[:-4], "with which schedule it was trained; give --schedule"),
    "unknown schedule": (lambda: damaged(len), [*SAID, "--schedule", "sigmoid"], "must be linear, cosine or a .npy"),
    "too few steps": (
        lambda: damaged(len), [*SAID, "--schedule", "linear", "--timesteps", "9"], "--timesteps: a noise schedule must",
    ),
    "a row too many": (
        lambda: (damaged(len), Path("r.txt").write_text("1\n40\n")), [*SAID, "--train-images", "r.txt"], "from 0 to 39",
    ),
    "more than the pool": (lambda: damaged(len), [*SAID, "--train-size", "41"], "has 40 training images"),
    "a control": (lambda: damaged(len), ["--model", "wiener", *SAID[-4:]], "is a control"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(place, case, capsys):
    make, words, message = BAD[case]
    make()
    assert adopt("bad.safetensors", *words) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("bench: error: ") and message in said and said.endswith(".")
    assert not Path("results/mine").exists() and not list(Path("results").glob(".adopt*"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_is_refused_with_the_way_to_convert_it(place, capsys):
    torch.save({"model": network().state_dict(), "args": Code()}, "code.pt")
    Path("edm.pkl").write_bytes(pickle.dumps({"ema": Code()}))  # as EDM publishes its networks
    for file in ("code.pt", "edm.pkl"):
        assert adopt(file, *SAID) == 1
        said = capsys.readouterr().err
        assert f"{file} holds pickled code" in said and "safetensors.torch.save_file" in said
    assert not Path("results/mine").exists()


def test_names_that_are_taken(place, capsys):
    assert adopt("net.safetensors", *SAID) == 0
    assert adopt("net.safetensors", *SAID) == 1
    assert "already exists; give another --name" in capsys.readouterr().err
    assert adopt("net.safetensors", *SAID, "--set", "dropout=0.5", "--train-size", "3") == 1
    assert "net is another network in suite 'mine'" in capsys.readouterr().err
    assert adopt("net.safetensors", *SAID, name="a/b") == 1
    assert "--name 'a/b' becomes part of file names" in capsys.readouterr().err
    assert (
        main(["adopt", "net.safetensors", "--suite", "demo", "--dataset", "disks", "--name", "a", *SAID]) == 1
    )
    assert "'demo' is one of config/" in capsys.readouterr().err


def save_pipeline(kind: str, scheduler, pipeline: bool = True):
    import diffusers

    torch.manual_seed(0)
    common = {"sample_size": 8, "in_channels": 1, "out_channels": 1}
    if kind == "UNet2DModel":
        net = diffusers.UNet2DModel(
            **common, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        )  # fmt: skip
    else:
        net = diffusers.DiTTransformer2DModel(
            **common, num_layers=1, num_attention_heads=2, attention_head_dim=8, patch_size=2, num_embeds_ada_norm=5,
            norm_num_groups=4,
        )  # fmt: skip
    net = perturb(net).eval()
    if pipeline and kind == "UNet2DModel":
        diffusers.DDPMPipeline(net, scheduler).save_pretrained("saved")
    elif pipeline:
        net.save_pretrained("saved/transformer")
        scheduler.save_pretrained("saved/scheduler")
        Path("saved/model_index.json").write_text("{}")
    else:
        net.save_pretrained("saved")
    return net


@diffusers
@pytest.mark.parametrize("kind", ["UNet2DModel", "DiTTransformer2DModel"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_a_pipeline_estimates_the_image_as_its_own_scheduler_does(place, kind, prediction, betas):
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(beta_schedule=betas, prediction_type=prediction, clip_sample=False)
    net = save_pipeline(kind, scheduler)
    assert adopt("saved") == 0
    run, (x, t) = open_run(folder("disks.net.n0.s0"), "cpu"), inputs()
    assert run.spec.training.schedule == {"linear": "linear", "scaled_linear": "own"}.get(betas, "cosine")
    labels = {} if kind == "UNet2DModel" else {"class_labels": torch.full((1,), 5)}
    with torch.no_grad():
        for one, step in zip(x[:2, None], t[:2]):  # at the last step all signal is lost but for rounding
            theirs = scheduler.step(
                net(one, step[None], **labels).sample, int(step), one
            ).pred_original_sample
            ours = run.schedule.x0_from_eps(one, int(step), run.model(one, step[None]))
            assert (ours - theirs).abs().max() < 2e-4 * theirs.abs().max().clamp(min=1)


@diffusers
def test_a_folder_of_a_network_is_measured(place):
    save_pipeline("UNet2DModel", None, pipeline=False)
    assert adopt("saved", "--schedule", "linear", "--prediction", "eps", "--train-size", "10") == 0
    assert main(["measure", "all", "disks.net.n10.s0", "--suite", "mine"]) == 0


@diffusers
def test_a_pipeline_that_cannot_be_measured(place, capsys):
    from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

    def refused(*words: str) -> str:
        assert adopt("saved", *words) == 1
        assert not Path("results/mine").exists()
        return capsys.readouterr().err.strip().splitlines()[-1]

    save_pipeline("DiTTransformer2DModel", FlowMatchEulerDiscreteScheduler())
    assert "has no betas" in refused()
    save_pipeline("DiTTransformer2DModel", DDIMScheduler(rescale_betas_zero_snr=True))
    assert "ends in pure noise" in refused()
    save_pipeline("DiTTransformer2DModel", DDIMScheduler())
    assert "its scheduler already sets the schedule; leave out --schedule" in refused("--schedule", "linear")
    file = Path("saved/transformer/config.json")
    file.write_text(file.read_text().replace('"sample_size": 8', '"sample_size": 16'))
    assert "is for images of 16 pixels" in refused()
    file.write_text(file.read_text().replace("DiTTransformer2DModel", "FluxTransformer2DModel"))
    assert "holds a FluxTransformer2DModel" in refused()
