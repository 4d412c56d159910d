"""``had predict``: what it writes, and that it writes all or nothing."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sealed_net import HEIGHT, ORDER, WIDTH, SealedNet

from had_core.data.images import read_image
from had_core.errors import BadInput
from orchestrator.app.book import predicting
from orchestrator.app.book.predicting import predict
from orchestrator.plan import ArtifactKind

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def netted(tmp_path_factory):
    return SealedNet(tmp_path_factory.mktemp("netted") / "store")


@pytest.fixture
def images(tmp_path):
    """Four images of odd sizes and kinds, and what is none."""
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = RNG.integers(0, 256, (29, 37, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save(folder / "colour.png")
    Image.fromarray(pixels).save(folder / "alpha.png")
    Image.fromarray(pixels[:5, :3, 0]).save(folder / "grey.jpg")
    np.save(folder / "floats.npy", RNG.random((3, 17, 50), np.float32))
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_text("no image")
    return folder


@pytest.fixture
def run(netted, tmp_path):
    """``run(images)``: predicts into a new folder; the result and the folder."""
    told: list[str] = []

    def call(images: Path, out: str = "out"):
        result = predict(
            netted.key[:12], str(images), str(tmp_path / out), netted.store.uri, note=told.append
        )
        return result, tmp_path / out

    call.told = told
    return call


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.iterdir() if p.name not in ("images", "store", "other")]


def test_every_task_of_every_image_in_its_own_size(run, images, netted):
    result, out = run(images)
    assert (result.images, result.ignored) == (4, ("notes.txt",))
    index = json.loads((out / "predictions.json").read_text())
    assert index["stage"] == netted.key
    sizes = {Path(e["file"]).stem: (e["height"], e["width"]) for e in index["images"]}
    assert sizes == {"alpha": (29, 37), "colour": (29, 37), "grey": (5, 3), "floats": (17, 50)}
    for name, size in sizes.items():
        arrays = {task: np.load(out / task / f"{name}.npy") for task in ORDER}
        assert arrays["semantic"].dtype == np.uint8 and arrays["semantic"].shape == size
        assert arrays["semantic"].max() < 13
        assert arrays["depth"].dtype == np.float32 and arrays["depth"].shape == size
        assert np.allclose(np.linalg.norm(arrays["normal"], axis=-1), 1, atol=1e-5)
        assert arrays["normal"].shape == (*size, 3)
        edge = arrays["edge_occlusion"]
        assert edge.shape == size and 0 <= edge.min() <= edge.max() <= 1
        for task in ORDER:
            Image.open(out / task / f"{name}.png").verify()
    assert {p.name for p in out.iterdir()} == {*ORDER, "predictions.json"}


def test_the_net_is_asked_as_it_is_in_an_evaluation(run, images, netted, micro_dataset):
    """Bit for bit, and the images of the data set come through files unchanged."""
    import torch

    from had_core.predict import decode

    split = micro_dataset.split("test")
    stored = split.stored("image", 0)
    folder = images.parent / "other"
    folder.mkdir()
    Image.fromarray(np.asarray(stored)).save(folder / "room.png")
    image = split.images(np.array([0]))
    assert np.array_equal(read_image(folder / "room.png"), image[0])
    assert image.shape[1:3] == (HEIGHT, WIDTH)
    _, out = run(folder)
    with torch.inference_mode():
        outputs = netted.net(torch.from_numpy(image).permute(0, 3, 1, 2))
    for task in netted.tasks:
        wanted = decode(task, outputs[task.name])[0]
        found = np.load(out / task.name / "room.npy")
        assert np.array_equal(found, wanted.reshape(found.shape))


def test_kinds_of_files_are_read_as_their_pixels(tmp_path):
    pixels = RNG.integers(0, 256, (6, 7, 4), np.uint8)
    wide = RNG.integers(0, 65536, (6, 7), np.uint16)
    grey, floats = pixels[..., 0], RNG.random((6, 7, 3))
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(wide).save(tmp_path / "wide.png")
    Image.fromarray(grey).convert("P").save(tmp_path / "palette.png")
    np.save(tmp_path / "bytes.npy", pixels[..., :3])
    np.save(tmp_path / "planes.npy", pixels[..., :3].transpose(2, 0, 1))
    np.save(tmp_path / "flat.npy", wide)
    np.save(tmp_path / "floats.npy", floats)
    colour = pixels[..., :3] / np.float32(255)
    three = np.repeat(grey[..., None], 3, axis=2) / np.float32(255)
    for name, wanted in {
        "alpha.png": colour,
        "grey.png": three,
        "palette.png": three,
        "wide.png": np.repeat(wide[..., None], 3, axis=2) / np.float32(65535),
        "flat.npy": np.repeat(wide[..., None], 3, axis=2) / np.float32(65535),
        "bytes.npy": colour,
        "planes.npy": colour,
        "floats.npy": floats.astype(np.float32),
    }.items():
        image = read_image(tmp_path / name)
        assert image.dtype == np.float32, name
        assert np.array_equal(image, wanted), name


def test_a_camera_held_sideways_is_put_upright(tmp_path):
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    picture.save(tmp_path / "phone.png", exif=exif)
    shown = np.rot90(np.arange(12).reshape(3, 4), -1)
    assert np.array_equal(read_image(tmp_path / "phone.png")[..., 0] * 255, shown)


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def _vast_npy() -> bytes:
    """A few bytes whose header promises a terabyte."""
    raw, small, vast = _npy(np.zeros((1, 1, 3))), b"(1, 1, 3), }", b"(100000, 1000000, 3), }"
    assert small in raw
    return raw.replace(small + b" " * (len(vast) - len(small)), vast)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("zero.png", b"", "the file is empty"),
        ("text.png", b"hello", "neither a PNG nor a JPEG"),
        ("cut.jpg", _jpeg()[:1000], "cannot be read"),
        ("text.npy", b"hello", "not a .npy file of numbers"),
        ("objects.npy", _npy(np.array([{}], dtype=object)), "not a .npy file of numbers"),
        ("cut.npy", _npy(np.zeros((9, 9), np.float32))[:-8], "not a .npy file of numbers"),
        (
            "key.npy",
            _npy(np.zeros((9, 9))).replace(b"{'descr'", b"{[]:1,'r'"),
            "not a .npy file of",
        ),
        ("vast.npy", _vast_npy(), "cannot be read"),
        ("wide.npy", _npy(np.zeros((9, 9, 5), np.float32)), "has the shape 9x9x5"),
        ("none.npy", _npy(np.zeros((0, 9, 3), np.float32)), "has the shape 0x9x3"),
        ("whole.npy", _npy(np.zeros((9, 9, 3), np.int64)), "of type int64"),
        ("bytes.npy", _npy(np.full((9, 9, 3), 255.0)), "has values 255 to 255"),
        ("nan.npy", _npy(np.full((9, 9, 3), np.nan)), "has values nan"),
    ],
)
def test_one_bad_image_is_named_and_nothing_is_written(run, images, name, content, sentence):
    (images / name).write_bytes(content)
    with pytest.raises(BadInput, match=sentence) as error:
        run(images)
    assert name in str(error.value)
    assert leftovers(images.parent) == []


def test_a_picture_too_large_to_be_one_is_refused(run, images, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(BadInput, match=r"alpha\.png' cannot be read: it has more than"):
        run(images)


def test_an_image_that_goes_bad_half_way_leaves_nothing(run, images, monkeypatch):
    real, calls = predicting.render_prediction, []

    def fails(*args):
        calls.append(args)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(predicting, "render_prediction", fails)
    with pytest.raises(KeyboardInterrupt):
        run(images)
    assert leftovers(images.parent) == []


def test_images_of_one_name_are_refused(run, images):
    (images / "colour.JPG").write_bytes(_jpeg())
    with pytest.raises(BadInput, match=r"'colour.JPG' and 'colour.png'"):
        run(images)


def test_memory_does_not_grow_with_the_images(run, tmp_path):
    peaks = []
    for count in (2, 10):
        folder = tmp_path / "other" / str(count)
        folder.mkdir(parents=True)
        for k in range(count):
            np.save(folder / f"{k}.npy", RNG.random((64, 64, 3), np.float32))
        tracemalloc.start()
        run(folder, f"out-{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2 * 64 * 64 * 3 * 4


def test_one_image_instead_of_a_folder(run, images):
    result, out = run(images / "grey.jpg")
    assert result.images == 1 and (out / "depth" / "grey.npy").exists()


def test_large_images_are_told_about(run, images):
    run(images)
    assert run.told == []
    np.save(images / "large.npy", np.zeros((3 * HEIGHT, 3 * WIDTH, 3), np.float32))
    run(images, "again")
    assert "images are up to 72x96, the net was trained on 24x32" in run.told[0]


def test_the_place_must_be_free(run, images):
    (images.parent / "out").mkdir()
    run(images)  # an empty folder is
    with pytest.raises(BadInput, match="exists and holds files"):
        run(images)
    with pytest.raises(BadInput, match="is not a folder"):
        run(images, "images/notes.txt")
    with pytest.raises(BadInput, match="cannot be written"):
        run(images, "images/notes.txt/out")


def test_a_folder_without_images_is_refused(run, images, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInput, match=r"holds no image: allowed are \.png, \.jpg"):
        run(tmp_path / "other")
    with pytest.raises(BadInput, match="holds no image"):
        run(images / "notes.txt")
    with pytest.raises(BadInput, match="does not exist"):
        run(tmp_path / "nowhere")


def test_the_command(netted, images, tmp_path, monkeypatch, had):
    monkeypatch.setenv("HAD_STORE", netted.store.uri)
    done = had("predict", netted.key[:10], str(images), str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    for text in (
        "4 images",
        "uint8 height x width",
        "value, m",
        "left out as no images: notes.txt",
    ):
        assert text in done.stdout
    again = had("predict", netted.key[:10], str(images), str(tmp_path / "out"))
    assert again.exit_code == 2 and "exists and holds files" in again.stderr
    for words in ("--device", "tpu"), ("--device", "cuda"):
        refused = had("predict", netted.key[:10], str(images), str(tmp_path / "new"), *words)
        assert refused.exit_code == 2 and "is not allowed" in refused.stderr


def test_a_stage_that_cannot_be_used_is_refused(netted, images, tmp_path, monkeypatch, had):
    monkeypatch.setenv("HAD_STORE", netted.store.uri)

    def sentence(name: str) -> str:
        done = had("predict", name, str(images), str(tmp_path / "out"))
        assert done.exit_code == 2, done.output
        return done.stderr

    assert "begins no fit" in sentence("0" * 12)
    assert "is unknown" in sentence("0" * 32)
    older = sentence(netted.stages[0].key)
    assert "sealed before stages recorded what their tasks are" in older
    assert "data set /data/rooms is not there" in older


def test_other_versions_and_damage_are_told(tmp_path, images, monkeypatch, had):
    from dataclasses import replace

    from orchestrator.plan import StageSpec

    netted = SealedNet(tmp_path / "store")
    monkeypatch.setenv("HAD_STORE", netted.store.uri)
    old = StageSpec(replace(netted.stages[0].fit, version=0), ())
    netted.made.seal("netted", "s", old)
    done = had("predict", old.key, str(images), str(tmp_path / "out"))
    assert done.exit_code == 2 and "was made with FIT_VERSION 0" in done.stderr
    (net,) = Path(netted.store.uri).rglob(f"{netted.key}/*/net.safetensors")
    raw = bytearray(net.read_bytes())
    raw[-1] ^= 1
    net.write_bytes(bytes(raw))
    done = had("predict", netted.key, str(images), str(tmp_path / "out"))
    assert done.exit_code == 2 and "is damaged" in done.stderr
    for command in (("predict", netted.key, str(images), "out"), ("export", netted.key[:9], "out")):
        done = had(*command)
        assert done.exit_code == 2 and "was damaged and set aside: had run trains" in done.stderr
    assert not netted.store.is_sealed(ArtifactKind.FIT, netted.key)
    assert leftovers(tmp_path) == []


def test_tasks_of_an_older_stage_come_from_its_data_set(ran, images, tmp_path):
    """Real stages record them; one without is looked up and must be of the same data."""
    from orchestrator.app.book.trained import trained_stage
    from orchestrator.plan.specs import FitSpec
    from orchestrator.store import Store

    source = Store.open(ran.store)
    key = ran.result.sequences[-1].stages[-1].key
    new = trained_stage(source, key)
    sealed = source.load(ArtifactKind.FIT, key)
    store = Store.open(tmp_path / "store")
    store.runs.create("tiny", ran.config.to_json())
    manifest = {k: v for k, v in sealed.manifest.items() if k != "data"}
    assert manifest != sealed.manifest
    files = {file.name: sealed.read(file.name) for file in sealed.files}
    store.seal(ArtifactKind.FIT, key, files, manifest)
    old = trained_stage(store, key)
    assert (old.tasks, old.height, old.width) == (new.tasks, new.height, new.width)
    assert [task.name for task in old.tasks] == ["semantic", "depth"]
    fit = FitSpec.from_json(sealed.manifest["spec"])
    assert fit.config.tasks == tuple(task.name for task in old.tasks)
