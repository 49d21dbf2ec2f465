import pytest
import torch

from avatar_core.bodies import load_body
from avatar_core.bodies.rotations import axis_angle_to_matrix
from avatar_core.errors import ConfigError
from avatar_core.priors.views import GreyViews, pose_body
from avatar_core.seeds import torch_generator


@pytest.fixture(scope="module")
def body():
    return load_body()


def covered(image: torch.Tensor) -> torch.Tensor:
    """Where (H, W) an image (3, H, W) shows the body and not the white background."""
    return image.mean(0) < 0.97


def test_the_standard_view_shows_who_is_taller(body):
    views = GreyViews(body, 48)
    index = body.shape_labels.index("height")
    rows = []
    for height in (0.1, 0.6):
        betas = body.neutral_shape.clone()
        betas[index] = height
        image = views.standard(body.shape(betas).vertices, (0.0,))[0]
        assert image.shape == (3, 48, 48)
        rows.append(covered(image).any(1).sum().item())
    assert rows[1] > rows[0] + 4


def test_framed_bodies_fill_the_image_wherever_they_are(body):
    views = GreyViews(body, 48)
    vertices = body.template * 0.7 + torch.tensor([5.0, 1.0, -3.0])
    for image in views.framed(vertices, (0.0, 0.8)):
        rows = covered(image).any(1).nonzero()[:, 0]
        assert 36 < rows[-1] - rows[0] < 48


def test_bodies_are_grey(body):
    image = GreyViews(body, 48).framed(body.template, (0.3,))[0]
    shown = image[:, covered(image)]
    assert (shown.amax(0) - shown.amin(0)).max() < 1e-4
    assert shown.min() > 0.05


def test_images_have_gradients_in_the_pose(body):
    views, shaped = GreyViews(body, 48), body.shape(body.neutral_shape)
    angles = torch.zeros(1, 22, 3)
    angles[0, 16, 2] = -0.8
    angles.requires_grad_(True)
    vertices = pose_body(body, shaped, axis_angle_to_matrix(angles))
    views.framed(vertices[0], (0.2,)).square().mean().backward()
    assert torch.isfinite(angles.grad).all()
    assert angles.grad[0, 16].abs().sum() > 0


def test_posed_bodies_stand_on_the_ground(body):
    shaped = body.shape(body.neutral_shape)
    angles = torch.zeros(2, 22, 3)
    angles[1, 0, 0] = -1.5  # lying on the back
    vertices = pose_body(body, shaped, axis_angle_to_matrix(angles))
    assert vertices[..., 1].amin(1).abs().max() < 1e-6
    assert vertices[1, :, 1].max() < 0.7 * vertices[0, :, 1].max()


def test_more_samples_bring_images_with_gradients_nearer_to_those_without(body):
    vertices = body.template.clone()
    wanted = GreyViews(body, 24, supersample=8).framed(vertices, (0.3,))
    vertices.requires_grad_(True)
    away = [
        (GreyViews(body, 24, gradient_supersample=samples).framed(vertices, (0.3,)) - wanted).abs().mean().item()
        for samples in (1, 4)
    ]
    assert away[1] < 0.5 * away[0]


def test_who_draws_is_chosen_by_name(body):
    with pytest.raises(ConfigError, match="neural_renderer draws on CUDA devices only"):
        GreyViews(body, 48, renderer="neural_renderer")


def test_bodies_framed_together_look_as_each_alone(body):
    views, shaped = GreyViews(body, 48), body.shape(body.neutral_shape)
    angles = torch.zeros(3, 22, 3)
    angles[1, 17, 2] = angles[2, 1, 0] = 0.6
    vertices = pose_body(body, shaped, axis_angle_to_matrix(angles)).requires_grad_(True)
    azimuths = torch.tensor([[0.0, 0.8], [0.3, -0.5], [3.0, 1.0]])
    together = views.framed_sets(vertices, azimuths)
    alone = torch.stack([views.framed(one, of.tolist()) for one, of in zip(vertices, azimuths)])
    assert together.shape == (3, 2, 3, 48, 48)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    weights = torch.rand(together.shape, generator=torch_generator(0))
    (mine,), (other,) = (torch.autograd.grad((images * weights).sum(), vertices) for images in (together, alone))
    torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-3)
