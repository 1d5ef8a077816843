"""Models of one, four or more channels, and models that are not called with a batch of images."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import finercam
from finercam import Classifier, FinercamError, explain
from finercam._torchvision import import_torchvision
from finercam.models.feeding import check_batch, first_channels
from support.models import CLASSES, SIZE, PooledNet, build


class OfChannels(nn.Module):
    """A convolution that is registered late, of any number of channels."""

    def __init__(self, channels):
        super().__init__()
        self.late = nn.Conv2d(4, 6, 3, 2, 1)
        self.early = nn.Conv2d(channels, 4, 3, 1, 1)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, images):
        return self.head(self.late(self.early(images).relu()).relu().mean((2, 3)))


class OfDictionaries(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, batch):
        return {"logits": self.inner(batch["image"]), "scale": batch["scale"]}


def grey(picture):
    return torch.from_numpy(np.asarray(picture.convert("L").resize(SIZE[::-1]), np.float32)[None] / 255)


def photo(width=40, height=60):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 12])
def test_channels_are_those_of_the_first_convolution(channels):
    module = OfChannels(channels)
    assert first_channels(module, SIZE) == channels
    model = Classifier.of(module, image_size=SIZE)
    assert model.channels == channels
    assert model.layers == ("late",)
    images = torch.randn(2, channels, *SIZE)
    found = explain(model, images, gamma=1.0)
    direct = torch.stack([one.saliency for one in found])
    torch.testing.assert_close(direct, finercam.saliency(model, images, gamma=1.0))
    assert found[0].figure().size
    # Altered copies, of which the folded copy is run.
    assert torch.isfinite(finercam.saliency(model, images, method="scorecam")).all()
    assert torch.isfinite(finercam.saliency(model, images, method="integrated-gradients")).all()


def test_a_photo_of_one_channel_is_explained_and_laid_on_the_photo():
    model = Classifier.of(OfChannels(1), image_size=SIZE, preprocess=grey, mean=(0.0,), std=(1.0,))
    e = explain(model, photo())
    assert e.image.shape == (1, *SIZE)
    assert e.on_photo().shape == (60, 40)
    assert e.seen().size == SIZE[::-1]
    assert e.figure().size


def test_a_model_is_called_with_what_feed_makes():
    inner = build(PooledNet, dtype=torch.float32)
    plain = Classifier.of(inner, image_size=SIZE)
    images = torch.randn(2, 3, *SIZE)
    for feed, module in (
        (lambda batch: {"image": batch, "scale": 1.0}, OfDictionaries(inner)),
        (lambda batch: (batch, 2.0), _Two(inner)),
    ):
        fed = Classifier.of(module, image_size=SIZE, feed=feed)
        assert fed.layers == (f"model.inner.{plain.layers[0]}",)
        assert fed.name == type(module).__name__
        assert fed.pooled
        torch.testing.assert_close(finercam.saliency(fed, images), finercam.saliency(plain, images))
        for layer in ("inner.stem.0", "model.inner.stem.0", inner.stem[0]):
            named = Classifier.of(module, image_size=SIZE, feed=feed, layer=layer)
            assert named.layers == ("model.inner.stem.0",)
        assert (module.training, inner.training) == (True, False)


class _Two(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images, scale):
        return self.inner(images)


def test_advice_names_what_would_help():
    with pytest.raises(FinercamError, match=r"one image of 3 channels and 12 x 16 pixels .*channels=.*feed="):
        Classifier.of(OfDictionaries(PooledNet()), image_size=SIZE)
    with pytest.raises(FinercamError, match="one image of 5 channels"):
        Classifier.of(PooledNet(), image_size=SIZE, channels=5)
    with pytest.raises(FinercamError, match="channels is 0"):
        Classifier.of(PooledNet(), image_size=SIZE, channels=0)


def test_whole_numbers_are_not_taken_for_preprocessed_images():
    # Before the annotations of explain and saliency say so, which they do in tests only.
    with pytest.raises(FinercamError, match=r"torch\.uint8.*preprocessed: floats b c H W.*PIL"):
        check_batch(torch.zeros(2, 3, *SIZE, dtype=torch.uint8), 3)


def test_a_misspelt_option_is_named():
    model = Classifier.of(build(PooledNet, dtype=torch.float32), image_size=SIZE)
    with pytest.raises(FinercamError, match=r"explain\(\) has no option 'gama'; did you mean 'gamma'"):
        explain(model, torch.randn(3, *SIZE), gama=1)
    with pytest.raises(FinercamError, match=r"saliency\(\) has no option 'gama'; did you mean 'gamma'"):
        finercam.saliency(model, torch.randn(1, 3, *SIZE), gama=1)


def test_a_training_folder_points_to_its_latest_checkpoint(tmp_path):
    for number in (500, 1000):
        folder = tmp_path / "trained" / f"checkpoint-{number}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(FinercamError, match=r"there is one inside: '.*checkpoint-1000', '.*checkpoint-500'$"):
        finercam.load(tmp_path / "trained")


def test_a_folder_without_a_processor_says_how_to_give_one(tmp_path):
    import_torchvision()
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path)
    with pytest.raises(FinercamError, match=r"no preprocessor_config\.json\. Save the image processor"):
        finercam.load(tmp_path)
    transformers.ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(tmp_path)
    assert finercam.load(tmp_path).classes == 3


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.rand(4, 32, 32), "of shape (4, 32, 32); give a tensor b c H W with c = 4; make a single image a batch"),
        (torch.rand(2, 3, 32, 32), "of shape (2, 3, 32, 32); give a tensor b c H W with c = 4"),
        (torch.rand(2, 4, 32, 32).numpy(), "are of ndarray; give a tensor"),
    ],
)
def test_what_is_not_a_batch_of_the_models_images_is_refused(images, said):
    with pytest.raises(FinercamError, match=re.escape(said)):
        check_batch(images, 4)


def test_a_batch_of_other_channels_does_not_reach_the_module():
    with pytest.raises(FinercamError, match=r"of shape \(2, 3, 32, 32\); give a tensor b c H W with c = 4"):
        finercam.saliency(Classifier.of(OfChannels(4), image_size=(32, 32)), torch.rand(2, 3, 32, 32))


def test_a_preprocessing_for_other_channels_is_named():
    model = Classifier.of(OfChannels(4), image_size=(32, 32), preprocess=lambda _: torch.rand(3, 32, 32))
    with pytest.raises(FinercamError, match="makes an image of 3 channels, but the model takes 4"):
        explain(model, photo())
