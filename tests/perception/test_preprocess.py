import torch

from avatar_core.perception.preprocess import normalize, resize


def test_resize_keeps_a_flat_colour_and_its_gradient():
    image = torch.full((1, 3, 50, 50), 0.3, requires_grad=True)
    small = resize(image, 16)
    assert small.shape == (1, 3, 16, 16)
    torch.testing.assert_close(small, torch.full_like(small, 0.3))
    small.sum().backward()
    assert (image.grad > 0).all()


def test_resize_averages_fine_patterns_instead_of_sampling_them():
    stripes = torch.zeros(1, 3, 96, 96)
    stripes[..., ::2] = 1.0
    assert (resize(stripes, 24) - 0.5).abs().max() < 0.05


def test_images_that_are_not_square_keep_their_proportions():
    tall = torch.zeros(1, 3, 40, 20)
    square = resize(tall, 40)
    torch.testing.assert_close(square[..., 10:30], torch.zeros(1, 3, 40, 20))
    torch.testing.assert_close(square[..., :10], torch.ones(1, 3, 40, 10))


def test_normalize_is_by_channel():
    image = torch.full((1, 3, 2, 2), 0.5)
    found = normalize(image, torch.tensor([0.5, 0.4, 0.3]), torch.tensor([1.0, 0.1, 0.2]))
    torch.testing.assert_close(found[0, :, 0, 0], torch.tensor([0.0, 1.0, 1.0]))
