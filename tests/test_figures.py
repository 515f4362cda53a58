import re
import warnings
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from lowerbound import figures, files
from lowerbound.errors import StorageError, UsageError


def history(steps: int = 40, latents: int = 3, **more: float) -> list[dict]:
    rows = []
    for t in range(1, steps + 1):
        distortion, rate = 90 + 460 / t**2, 20 - 10 / t
        row = {"step": t, "epoch": t / 10, "distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}
        row |= {"loss": distortion + rate, "beta": min(1.0, t / 20), **more}
        rows.append({"split": "train", **row})
        if t % 10 == 0:
            rows.append({"split": "validation", **row, "kl_by_dim": [0.1 * t * (i + 1) for i in range(latents)]})
    return rows


def pixels(fig: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def corner(fig: Figure) -> tuple[int, int]:
    """The pixel (from the top, from the left) where the mosaic begins."""
    height = round(fig.get_figheight() * fig.dpi)
    box = fig.axes[0].get_window_extent()
    return height - round(box.y1), round(box.x0)


def texts(fig: Figure) -> str:
    found = fig.findobj(lambda a: isinstance(a, mpl.text.Text) and a.get_visible())
    return "\n".join(t.get_text() for t in found)


def axes_named(fig: Figure, name: str) -> mpl.axes.Axes:
    return next(ax for ax in fig.axes if ax.get_ylabel() == name)


def test_view_leaves_out_the_first_outlier_and_says_so() -> None:
    fig = figures.curves(history())
    low, high = axes_named(fig, "elbo").get_ylim()
    assert -550 < low < -110 < high
    assert high > -110.0  # the best value is in view
    assert "beyond the view" in texts(fig)


def test_view_shows_everything_where_nothing_is_far_out() -> None:
    rows = [
        {"split": "train", "step": t, "epoch": t / 9, "elbo": -100.0 + t, "distortion": 90.0 - t, "rate": 10.0}
        for t in range(1, 20)
    ]
    fig = figures.curves(rows)
    low, high = axes_named(fig, "elbo").get_ylim()
    assert low < -99
    assert high > -81
    assert "beyond" not in texts(fig)


def test_view_keeps_a_lone_late_spike_from_squashing_the_rest() -> None:
    rows = history(200)
    rows[-20]["elbo"] = -1e6
    assert axes_named(figures.curves(rows), "elbo").get_ylim()[0] > -700


def test_curves_draw_the_values_and_the_schedule_on_one_axis() -> None:
    rows = history()
    fig = figures.curves(rows)
    assert [ax.get_ylabel() for ax in fig.axes] == ["elbo", "distortion", "rate", "beta"]
    train, validation = axes_named(fig, "rate").lines
    assert train.get_ydata().tolist() == [r["rate"] for r in rows if r["split"] == "train"]
    assert validation.get_xdata().tolist() == [1.0, 2.0, 3.0, 4.0]  # epochs
    assert axes_named(fig, "beta").lines[0].get_ydata()[-1] == 1.0
    limits = {ax.get_xlim() for ax in fig.axes}
    assert len(limits) == 1


def test_curves_take_capacity_steps_gaps_and_numbers_that_are_not_finite() -> None:
    rows = [
        {
            "split": "train",
            "step": 1,
            "epoch": 0.1,
            "elbo": float("nan"),
            "distortion": 5.0,
            "rate": None,
            "capacity": 0,
        },
        {"split": "train", "step": 2, "epoch": 0.2, "elbo": -9.0, "distortion": 4.0, "capacity": 25.0},
    ]
    fig = figures.curves(rows)
    assert [ax.get_ylabel() for ax in fig.axes] == ["elbo", "distortion", "capacity"]
    assert fig.axes[-1].get_xlabel() == "steps"
    assert axes_named(fig, "elbo").lines[0].get_ydata().tolist() == [-9.0]


def test_curves_refuse_an_empty_history_in_words() -> None:
    with pytest.raises(UsageError, match="no step was logged"):
        figures.curves([])


def test_heat_puts_the_latent_with_the_largest_kl_on_top() -> None:
    fig = figures.kl_heat(history(latents=3))
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["z2", "z1", "z0"]
    low, high = ax.get_ylim()
    assert low > high  # the first row is on top
    assert ax.collections[0].get_array()[0, -1] == pytest.approx(12.0)
    with pytest.raises(UsageError, match="factorise"):
        figures.kl_heat([r for r in history() if r["split"] == "train"])


@pytest.mark.parametrize("latents", [1, 500])
def test_few_and_many_latents_can_be_drawn(latents: int) -> None:
    assert len(figures.kl_heat(history(10, latents)).axes[0].get_yticks()) <= 24
    bars = figures.kl_bars([float(i) for i in range(latents)], [0]).axes[0]
    assert len(bars.patches) == latents
    assert len(bars.get_xticks()) <= 24


def test_bars_are_sorted_and_grey_where_collapsed() -> None:
    ax = figures.kl_bars([0.0, 3.0, 1.0], collapsed=[0]).axes[0]
    assert [p.get_height() for p in ax.patches] == [3.0, 1.0, 0.0]
    grey = mpl.colors.to_rgba(figures.style.FAINT)
    assert [p.get_facecolor() == grey for p in ax.patches] == [False, False, True]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["z1", "z2", "z0"]


def test_constant_latents_are_dark_grey_and_few_bars_fill_the_width() -> None:
    ax = figures.kl_bars([2.0, 1.0], constant=[1]).axes[0]
    assert ax.patches[1].get_facecolor() == mpl.colors.to_rgba(figures.style.MUTED)
    assert ax.get_xlim()[1] < 2
    assert ax.lines == [] or len(ax.lines) == 0


def test_heat_takes_the_order_of_the_bars() -> None:
    ax = figures.kl_heat(history(latents=3), [0.5, 2.0, 1.0]).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["z1", "z2", "z0"]


def test_many_validations_have_no_markers() -> None:
    for n, marker in ((figures.training.MARKED, "o"), (figures.training.MARKED + 1, "None")):
        rows = [{"split": "validation", "step": t, "elbo": -float(t)} for t in range(n)]
        assert figures.curves(rows).axes[0].lines[0].get_marker() == marker


def test_the_key_of_the_curves_is_at_the_left() -> None:
    notes = [t for t in figures.curves(history()).axes[0].texts if t.get_text().startswith(("train", "validation"))]
    assert len(notes) == 2
    assert all(t.xy[0] == 0 for t in notes)


@pytest.mark.parametrize(("n", "columns", "lines"), [(1, 1, 1), (64, 8, 8), (100, 10, 10), (2000, 80, 25)])
def test_grids_are_wider_than_high(n: int, columns: int, lines: int) -> None:
    shown = figures.grid(torch.zeros(n, 1, 40, 40)).axes[0].get_images()[0].get_array()
    k = max(1, min(12, round(1000 / (columns * 40))))
    assert shown.shape[:2] == (lines * (40 * k + 2) - 2, columns * (40 * k + 2) - 2)


def test_the_images_themselves_stand_apart_at_both_ends_of_a_strip() -> None:
    strips, first, last = torch.full((1, 3, 1, 8, 8), 0.5), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    ax = figures.interpolation(strips, ["a"], ends=(first, last)).axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["image", "from", "to", "image"]
    shown = ax.get_images()[0].get_array()[5, :, 0]
    assert [shown[round(x)] for x in ax.get_xticks()] == [0, 128, 128, 255]
    at = ax.get_xticks()
    assert at[1] - at[0] > (at[2] - at[1]) / 2  # two cells lie between "from" and "to"


def test_where_an_image_lies_in_its_traversal_is_framed() -> None:
    values = torch.linspace(-2.5, 2.5, 3)
    fig = figures.traversal(torch.rand(2, 3, 1, 8, 8), ["z0", "z1"], values, "from test image, row 3", own=[2, 0])
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["−2.5", "0.0", "2.5"]
    middles = [p.get_x() + p.get_width() / 2 for p in ax.patches]
    assert middles == pytest.approx([ax.get_xticks()[2], ax.get_xticks()[0]], abs=2)
    assert "from test image, row 3" in texts(fig)
    assert "Framed" in texts(fig)


def test_grid_is_exact_to_the_pixel() -> None:
    x = torch.rand(7, 1, 10, 14)
    fig = figures.grid(x, columns=4)
    shown, (top, left), k = pixels(fig), corner(fig), 12
    for i in range(7):
        y0, x0 = top + i // 4 * (10 * k + 2), left + i % 4 * (14 * k + 2)
        block = shown[y0 : y0 + 10 * k, x0 : x0 + 14 * k]
        want = np.rint(x[i, 0].numpy() * 255).repeat(k, 0).repeat(k, 1)
        assert (block == want[..., None]).all()
    gap = shown[top : top + 10 * k, left + 14 * k : left + 14 * k + 2]
    assert (gap == 255).all()
    empty = shown[top + 10 * k + 2 : top + 20 * k, left + 3 * (14 * k + 2) : left + 4 * 14 * k]
    assert (empty == 255).all()


def test_grid_shows_colour_opacity_and_clips() -> None:
    x = torch.zeros(1, 3, 2, 2)
    x[0, :, 0, 0] = torch.tensor([1.7, 0.0, -3.0])
    fig = figures.grid(x)
    top, left = corner(fig)
    assert pixels(fig)[top, left].tolist() == [255, 0, 0]
    clear = torch.cat([x, torch.zeros(1, 1, 2, 2)], dim=1)
    fig = figures.grid(clear)
    assert pixels(fig)[corner(fig)].tolist() == [255, 255, 255]


def test_grid_shows_the_first_of_five_channels_and_says_so() -> None:
    x = torch.zeros(2, 5, 4, 4)
    x[:, 0] = 0.4
    fig = figures.grid(x, title="costs $5 and $6")
    assert pixels(fig)[corner(fig)].tolist() == [102, 102, 102]
    assert "the first of 5 channels" in texts(fig)
    assert "costs $5 and $6" in texts(fig)
    assert "channels" not in texts(figures.grid(x[:, :1]))


def test_no_images_is_said_in_words() -> None:
    with pytest.raises(UsageError, match="no images"):
        figures.grid(torch.zeros(0, 1, 4, 4))


def test_reconstructions_stand_under_their_originals() -> None:
    x, y = torch.full((5, 1, 8, 8), 0.2), torch.full((5, 1, 8, 8), 0.8)
    fig = figures.reconstructions(x, y, columns=3)
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["original", "reconstruction"] * 2
    shown, (top, left) = pixels(fig), corner(fig)
    middles = [round(v) for v in ax.get_yticks()]
    assert [shown[top + m, left + 5, 0].item() for m in middles] == [51, 204, 51, 204]
    assert middles[2] - middles[1] > middles[1] - middles[0]  # pairs keep together


def test_traversal_labels_rows_and_values() -> None:
    rows = torch.rand(2, 5, 1, 8, 8)
    fig = figures.traversal(rows, ["z7 · 2.1 nats", "z0 · 0.0 nats"], torch.linspace(-2, 2, 5))
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["z7 · 2.1 nats", "z0 · 0.0 nats"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["−2", "−1", "0", "1", "2"]
    top, left = corner(fig)
    assert pixels(fig)[top, left, 0] == round(rows[0, 0, 0, 0, 0].item() * 255)
    assert left > 100  # the labels have room


def test_interpolation_and_manifold_keep_their_order() -> None:
    strips = torch.linspace(0, 1, 6)[None, :, None, None, None].expand(2, 6, 1, 4, 4)
    fig = figures.interpolation(strips, ["0 → 1", "2 → 3"])
    top, left = corner(fig)
    width = round(fig.axes[0].get_window_extent().width)
    row = pixels(fig)[top, left : left + width, 0].astype(int)
    assert row[0] == 0
    assert row[-1] == 255

    plane = torch.zeros(3, 3, 1, 4, 4)
    plane[0, 2] = 1.0
    fig = figures.manifold(plane, torch.tensor([-1.5, 0.0, 1.5]))
    top, left = corner(fig)
    side = round(fig.axes[0].get_window_extent().width)
    shown = pixels(fig)[top : top + side, left : left + side, 0]
    assert shown[0, -1] == 255
    assert shown[0, 0] == 0
    assert shown[-1, -1] == 0
    ticks = [t.get_text() for t in fig.axes[0].get_yticklabels()]
    assert ticks == ["1.5", "0.0", "−1.5"]  # the second latent grows upwards


def test_scatter_has_a_legend_a_bar_or_neither() -> None:
    z = torch.randn(300, 2)
    y = torch.arange(300) % 10
    fig = figures.scatter(z, y, classes=[f"class {i}" for i in range(10)])
    assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == [f"class {i}" for i in range(10)]
    drawn = np.concatenate([c.get_offsets() for c in fig.axes[0].collections])
    assert len(drawn) == 300
    assert drawn[0].tolist() == pytest.approx(z[0].tolist())
    assert len({tuple(c.get_facecolor()[0]) for c in fig.axes[0].collections}) == 10
    assert len(figures.scatter(z, torch.arange(300)).axes) == 2
    assert figures.scatter(z).axes[0].get_legend() is None


def test_points_say_what_is_left_out() -> None:
    x = torch.rand(50, 3)
    y = torch.cat([x, torch.full((1, 3), 100.0)])
    fig = figures.points(x, y)
    assert fig.axes[0].get_xlim() == fig.axes[1].get_xlim()
    assert fig.axes[0].get_xlim()[1] < 3
    assert "1 of 51 samples lie beyond the view; the first two of 3 coordinates" in texts(fig)
    assert "first two" not in texts(figures.points(x[:, :2], x[:, :2]))
    assert len(figures.points(x[:, :1], x[:, :1]).axes) == 2


def test_svg_is_one_element_that_refers_to_nothing_outside() -> None:
    text = figures.svg(figures.curves(history()), "the <curves> & more")
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("aria-label") == "the <curves> & more"
    assert text.startswith("<svg ")
    assert text.count("http") == 1  # the namespace
    assert "<style" not in text
    assert ">β</text>" in text
    ids = re.findall(r'\bid="([^"]+)"', text)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    assert used
    assert used == set(ids)
    assert len(ids) == len(set(ids))


def test_svg_is_deterministic_and_its_ids_are_its_own() -> None:
    a, b = (figures.svg(figures.curves(history())) for _ in range(2))
    assert a == b
    other = figures.svg(figures.curves(history(50)))
    ids = [set(re.findall(r'\bid="([^"]+)"', s)) for s in (a, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_svg_of_a_heat_map_holds_its_pixels_inline() -> None:
    text = figures.svg(figures.kl_heat(history()))
    assert 'href="data:image/png;base64,' in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "", 1)


def test_svg_escapes_hostile_names() -> None:
    text = figures.svg(figures.scatter(torch.rand(4, 2), torch.arange(4) % 2, ["<img onerror=x>", "a\x01]]>b"]))
    ElementTree.fromstring(text)
    assert "<img" not in text


def test_save_is_deterministic_carries_its_note_and_leaves_the_figure_alone(tmp_path: Path) -> None:
    fig = figures.grid(torch.rand(4, 1, 8, 8))
    before = pixels(fig)
    note = "best weights (step 300) · β=4 <b>"
    a = figures.save(fig, tmp_path / "a.png", note).read_bytes()
    assert figures.save(fig, str(tmp_path / "b.png"), note).read_bytes() == a
    assert b"Software" not in a
    assert b"tIME" not in a
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["Description"] == note
        shown = np.array(image)
    assert (shown[: len(before)] == before).all()
    line = shown[len(before) :]
    assert len(line) > 10
    assert line.min() < 150
    figures.save(fig, tmp_path / "plain.png")
    with Image.open(tmp_path / "plain.png") as image:
        assert image.size == (before.shape[1], before.shape[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png", "plain.png"]
    assert (pixels(fig) == before).all()


def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    files.write(path, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(StorageError, match=r"a\.bin could not be written: the disk is full"):
        files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    with pytest.raises(StorageError, match="No such file"):
        files.write(tmp_path / "none" / "a.bin", b"new")


def test_settings_of_the_process_are_neither_changed_nor_heeded(tmp_path: Path) -> None:
    plain = figures.svg(figures.curves(history()))
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "font.size": 30, "figure.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert figures.svg(figures.curves(history())) == plain
        figures.save(figures.grid(torch.rand(2, 1, 8, 8)), tmp_path / "a.png", "note")
        assert {k: v for k, v in mpl.rcParams.items() if v != before[k] and k != "backend"} == {}


def test_names_in_any_script_are_drawn_without_a_warning(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fig = figures.grid(torch.rand(3, 1, 8, 8), title="日本 β")
        figures.save(fig, tmp_path / "a.png", "日本")
        text = figures.svg(fig)
    assert caught == []
    assert "日本 β" in text


def test_the_schedule_is_that_of_the_training_and_not_of_the_validation() -> None:
    """Validation rows carry β at the schedule's end, however many they are."""
    rows = [{"split": "train", "step": 10 * t, "elbo": -9.0, "beta": t / 10} for t in range(1, 4)]
    rows += [{"split": "validation", "step": t, "elbo": -9.0, "beta": 1.0} for t in range(1, 30)]
    line = axes_named(figures.curves(rows), "beta").lines[0]
    assert list(line.get_xdata()) == [10, 20, 30]
    assert list(line.get_ydata()) == [0.1, 0.2, 0.3]
    fig = figures.curves(rows[3:])  # of validations alone there is no schedule to draw
    assert [ax.get_ylabel() for ax in fig.axes] == ["elbo"]
