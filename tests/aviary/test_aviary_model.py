import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import finercam
from finercam.aviary import FAMILIES, Aviary, label_names, network
from finercam.aviary.accuracy import evaluate
from finercam.aviary.drawing import Progress, draw
from finercam.aviary.network import build, predict
from finercam.aviary.training import Recipe, shifted, spread, train
from finercam.errors import FinercamError

SHIPPED = Path(network.__file__).parent / "model"

TINY = Recipe(images=256, epochs=1, batch=16)


@pytest.fixture(scope="module")
def shipped() -> torch.nn.Module:
    return build(SHIPPED)


def test_shipped_folder_is_small_and_whole():
    assert {path.name for path in SHIPPED.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 3_000_000
    assert "Apache-2.0" in (SHIPPED / "README.md").read_text(encoding="utf-8")


def test_shipped_folder_is_what_training_writes():
    config = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    assert config == json.loads(json.dumps(network._config()))


def test_finercam_loads_the_shipped_folder():
    classifier = finercam.load(f"timm/local-dir:{SHIPPED}", device="cpu")
    assert classifier.pooled
    assert classifier.image_size == (128, 128)
    assert classifier.labels is not None
    assert tuple(map(classifier.class_name, range(classifier.classes))) == label_names
    assert {parameter.dtype for parameter in classifier.module.parameters()} == {torch.float32}


def test_last_map_has_a_cell_for_every_eight_pixels(shipped):
    with torch.inference_mode():
        assert shipped.forward_features(torch.zeros(1, 3, 128, 128)).shape[2:] == (16, 16)


def test_half_precision_weights_are_loaded_as_they_are(shipped):
    stored = load_file(SHIPPED / "model.safetensors")
    assert all(torch.equal(value.to(stored[name].dtype), stored[name]) for name, value in shipped.state_dict().items())


def test_preprocessing_is_the_training_one(shipped):
    """What a photo goes through in ``load`` is what a picture went through in training."""
    from PIL import Image

    image, _ = Aviary("test").picture(0)
    classifier = finercam.load(f"timm/local-dir:{SHIPPED}", device="cpu")
    assert classifier.preprocessing.transform is not None
    got = classifier.preprocessing(Image.fromarray(image))
    torch.testing.assert_close(got, network.as_input(image[None])[0], rtol=0, atol=1e-6)


def test_shipped_model_names_fresh_birds(shipped):
    found = evaluate(shipped, 320, split="fresh", seed=11, workers=1)
    assert found.top1 >= 0.95
    assert found.inside_family >= found.top1
    assert sum(count for *_, count in found.confusions) == len(found.mistakes) == round(320 * (1 - found.top1))


def test_shipped_model_reads_the_traits(shipped):
    """Repainting the trait as a look-alike's lowers the margin between the two, and mostly turns it round."""
    aviary = Aviary("fresh", n=64, seed=12)
    falls, turned = [], []
    for index in range(64):
        sample = aviary[index]
        other = next(iter(sample.differences))
        if not sample.differences[other].any():
            continue
        at = [label_names.index(sample.species), label_names.index(other)]
        before, after = predict(shipped, np.stack([sample.image, aviary.repaint(index, other).image]))[:, at]
        falls.append((before[0] - before[1]) - (after[0] - after[1]))
        turned.append(after[0] < after[1])
    assert np.mean(np.array(falls) > 0) > 0.95
    assert np.mean(turned) > 0.8


def test_evaluation_counts_what_a_module_says():
    class FirstOfItsFamily(torch.nn.Module):
        def forward(self, x):
            logits = torch.zeros(len(x), len(label_names))
            logits[:, 0] = 1
            return logits

    found = evaluate(FirstOfItsFamily(), 64, workers=1)
    assert found.n == 64
    assert found.top1 == 2 / 64
    assert found.family == len(FAMILIES[0].species) / 32
    # Among equal logits of the right family the first species is taken: one in each family is right.
    assert found.inside_family == len(FAMILIES) / 32
    assert {named for _, named, _ in found.confusions} == {label_names[0]}
    assert all(count == 2 for *_, count in found.confusions)


@pytest.mark.slow  # processes are started
def test_pictures_are_the_same_from_any_number_of_processes():
    ones, twos = (draw("train", 300, 5, workers=workers) for workers in (1, 2))
    assert all(np.array_equal(one, two) for one, two in zip(ones, twos, strict=True))
    image, label = Aviary("train", seed=5).picture(299)
    assert np.array_equal(ones[0][299], image)
    assert ones[1][299] == label


def test_shifting_moves_each_picture_and_mirrors_its_border():
    images = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    moved = shifted(images, 2, np.random.default_rng(0))
    assert moved.shape == images.shape
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), "reflect")
    for one, around in zip(moved, padded, strict=True):
        assert any(np.array_equal(one, around[y : y + 8, x : x + 8]) for y in range(5) for x in range(5))
    assert np.array_equal(shifted(images, 0, np.random.default_rng(0)), images)


def test_spread_is_least_for_one_cell_and_most_for_all():
    one = torch.zeros(2, 3, 4, 4)
    one[:, :, 1, 2] = 5.0
    half = torch.zeros(2, 3, 4, 4)
    half[:, :, :2] = 5.0
    assert float(spread(one)) == pytest.approx(1 / 4, abs=1e-3)
    assert float(spread(half)) == pytest.approx(0.5**0.5, abs=1e-3)
    assert float(spread(torch.full((2, 3, 4, 4), 5.0))) == pytest.approx(1, abs=1e-3)
    assert float(spread(100 * half)) == pytest.approx(float(spread(half)), abs=1e-3)
    silent = torch.zeros(2, 3, 4, 4, requires_grad=True)
    spread(silent).backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


def test_training_writes_a_whole_folder_and_leaves_torch_alone(tmp_path):
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    seen: list[Progress] = []
    result = train(tmp_path / "new" / "model", Recipe(images=64, epochs=1, batch=16), workers=1, report=seen.append)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert {path.name for path in result.folder.iterdir()} == {"config.json", "model.safetensors"}
    assert [path.name for path in result.folder.parent.iterdir()] == ["model"]
    assert (result.folder / "model.safetensors").stat().st_mode == (result.folder / "config.json").stat().st_mode
    assert result.size == (result.folder / "model.safetensors").stat().st_size
    assert [each.stage for each in seen] == ["draw"] + ["train"] * 4
    assert seen[0].done == seen[0].total == 64
    assert [each.done for each in seen[1:]] == [1, 2, 3, 4]
    assert seen[-1].seconds_left == 0
    assert math.isfinite(seen[-1].loss)
    assert finercam.load(str(result.folder), device="cpu").classes == 32


def test_training_that_breaks_off_leaves_nothing(tmp_path):
    def stop(progress: Progress) -> None:
        if progress.stage == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "model", Recipe(images=32, epochs=1, batch=16), workers=1, report=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FinercamError, match="exists already"):
        train(tmp_path, TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("wrong", [{"images": 10}, {"epochs": 0}, {"batch": 1}])
def test_recipe_out_of_range_is_refused(wrong):
    with pytest.raises(FinercamError, match="give at least"):
        Recipe(**wrong)


@pytest.mark.slow
def test_loss_falls_and_the_seed_decides_the_weights(tmp_path):
    results = [train(tmp_path / str(i), TINY, workers=1) for i in range(2)]
    weights = [(result.folder / "model.safetensors").read_bytes() for result in results]
    assert weights[0] == weights[1]
    assert results[0].losses == results[1].losses
    longer = train(tmp_path / "longer", Recipe(images=256, epochs=3, batch=16), workers=1)
    assert longer.losses[-1] < longer.losses[0] - 0.3
    other = train(tmp_path / "other", Recipe(images=256, epochs=1, batch=16, seed=1), workers=1)
    assert (other.folder / "model.safetensors").read_bytes() != weights[0]
