"""Where boxes, masks and points of a photo lie in the input, against preprocessings whose geometry is known."""

import numpy as np
import pytest
import torch
from PIL import Image

from finercam._torchvision import import_torchvision
from finercam.data.placement import Placer
from finercam.errors import FinercamError

import_torchvision()
from torchvision.transforms import v2  # noqa: E402

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def preprocessing(*steps):
    return v2.Compose([*steps, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])


def pad_to_square(picture):
    side = max(picture.size)
    square = Image.new("RGB", (side, side), (124, 116, 104))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def resize_and_crop(width, height, short, crop):
    """scale and shift of x and y, as torchvision does it: the short side to ``short``, the middle ``crop``."""
    upright = width <= height
    new = (short, int(short * height / width)) if upright else (int(short * width / height), short)
    left, top = (round((side - crop) / 2.0) for side in new)
    return (new[0] / width, -left), (new[1] / height, -top)


#: name: (steps, photo's size, (scale, shift) of x, of y)
CASES = {
    "as it is": ([], (64, 48), (1, 0), (1, 0)),
    "resized": ([v2.Resize((96, 80))], (64, 48), (80 / 64, 0), (96 / 48, 0)),
    "shrunk": ([v2.Resize((56, 56), antialias=True)], (400, 300), (56 / 400, 0), (56 / 300, 0)),
    "cropped": ([v2.CenterCrop(32)], (64, 48), (1, -16), (1, -8)),
    "resized and cropped": (
        [v2.Resize(64), v2.CenterCrop(56)],
        (120, 90),
        *resize_and_crop(120, 90, 64, 56),
    ),
    "upright": ([v2.Resize(72), v2.CenterCrop(64)], (90, 200), *resize_and_crop(90, 200, 72, 64)),
    "as timm does": (
        [v2.Resize(235, interpolation=v2.InterpolationMode.BICUBIC), v2.CenterCrop(224)],
        (500, 333),
        *resize_and_crop(500, 333, 235, 224),
    ),
    "padded": ([pad_to_square, v2.Resize((100, 100))], (200, 120), (0.5, 0), (0.5, 20)),
    "flipped": ([v2.RandomHorizontalFlip(1.0)], (64, 48), (-1, 64), (1, 0)),
    "upside down": ([v2.RandomVerticalFlip(1.0), v2.Resize((96, 64))], (64, 48), (1, 0), (-2, 96)),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    steps, size, x, y = CASES[request.param]
    preprocess = preprocessing(*steps)
    return preprocess, size, x, y, Placer(preprocess)(size)


def test_scale_and_shift_are_found_to_a_tenth_of_a_pixel(case):
    _, (width, height), x, y, placed = case
    corners = torch.tensor([[0.0, 0.0], [width, height], [width / 3, height / 7]], dtype=torch.float64)
    expected = torch.stack([corners[:, 0] * x[0] + x[1], corners[:, 1] * y[0] + y[1]], 1)
    torch.testing.assert_close(placed.points(corners), expected, atol=0.1, rtol=0)


def test_a_box_covers_the_pixels_whose_middles_are_in_it(case):
    preprocess, (width, height), x, y, placed = case
    # Its edges fall between the middles of the input's pixels, wherever those are, but for a tenth.
    box = (0.237 * width, 0.318 * height, 0.683 * width, 0.771 * height)
    found = placed.box(box)
    assert found.shape == preprocess(Image.new("RGB", (width, height))).shape[1:]
    for line, (scale, shift), low, high in (
        (found.any(0), x, box[0], box[2]),
        (found.any(1), y, box[1], box[3]),
    ):
        middles = (torch.arange(len(line)) + 0.5 - shift) / scale
        sure = ((middles - low).abs() * abs(scale) > 0.1) & ((middles - high).abs() * abs(scale) > 0.1)
        assert torch.equal(line[sure], ((middles >= low) & (middles < high))[sure])
        assert int((~sure).sum()) <= 2
    assert torch.equal(found, found.any(1)[:, None] & found.any(0))


def test_a_mask_lands_where_the_photo_shows_it(case):
    preprocess, (width, height), _, _, placed = case
    ys, xs = np.mgrid[:height, :width]
    mask = ((xs - 0.4 * width) / (0.25 * width)) ** 2 + ((ys - 0.55 * height) / (0.3 * height)) ** 2 < 1
    pictures = [Image.fromarray(np.repeat((m * 255).astype(np.uint8)[..., None], 3, 2)) for m in (mask, ~mask)]
    white, black = (preprocess(picture)[0] for picture in pictures)
    found = placed.mask(mask)
    # Where the picture of the mask is far from grey, it says itself what is on it.
    sure = (white - black).abs() > 0.9 * float((white - black).abs().max())
    assert float(sure.float().mean()) > 0.4
    assert torch.equal(found[sure], (white > black)[sure])
    light, dark = (preprocess(Image.new("RGB", (width, height), colour))[0] for colour in ("white", "black"))
    assert not found[light == dark].any()


def test_a_mask_of_another_size_is_refused():
    placed = Placer(preprocessing())((8, 6))
    with pytest.raises(FinercamError, match="a mask of 6 x 8 pixels does not fit a photo of 8 x 6"):
        placed.mask(np.ones((8, 6), bool))


def test_what_reaches_over_the_edge_is_cut_off():
    placed = Placer(preprocessing(pad_to_square))((40, 20))
    found = placed.box((-5.0, -5.0, 100.0, 100.0))
    assert found.shape == (40, 40)
    assert torch.equal(found, placed.mask(np.ones((20, 40), bool)))
    assert found.sum() == 40 * 20


@pytest.mark.parametrize(
    "turn",
    [
        lambda picture: picture.rotate(90, expand=True),
        lambda picture: picture.rotate(30),
        lambda picture: picture.transpose(Image.Transpose.TRANSPOSE),
        v2.RandomPerspective(0.6, p=1.0),
        lambda picture: Image.new("RGB", picture.size),
    ],
    ids=["a quarter turn", "a turn", "transposed", "perspective", "blank"],
)
def test_what_does_more_than_resize_crop_pad_and_flip_is_refused(turn):
    with pytest.raises(FinercamError, match="the preprocessing"):
        Placer(preprocessing(turn))((64, 64))


def test_each_size_is_found_once_and_for_itself():
    calls = []
    inner = preprocessing(v2.Resize((32, 32)))

    def preprocess(picture):
        calls.append(picture.size)
        return inner(picture)

    placer = Placer(preprocess)
    assert placer((64, 32)).x.scale == pytest.approx(0.5, abs=0.002)
    once = len(calls)
    assert placer((64, 32)).y.scale == pytest.approx(1.0, abs=0.003)
    assert len(calls) == once
    assert placer((16, 32)).x.scale == pytest.approx(2.0, abs=0.01)
