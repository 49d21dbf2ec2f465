import pytest
import torch
from torch import nn

from avatar_core.perception.encoder import load_encoder
from avatar_core.perception.patch_projection import PatchProjection, project_patches
from avatar_core.seeds import torch_generator


def convolution(**settings) -> nn.Conv2d:
    made = nn.Conv2d(3, 8, 4, **({"stride": 4} | settings))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(generator=torch_generator(1))
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_equals_its_convolution_in_values_and_gradients(bias):
    plain = convolution(bias=bias)
    projection = PatchProjection(plain)
    pixels = torch.randn(2, 3, 18, 13, generator=torch_generator(2), requires_grad=True)
    ours, theirs = projection(pixels), plain(pixels)
    assert ours.shape == theirs.shape == (2, 8, 4, 3)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    pull = torch.randn(ours.shape, generator=torch_generator(3))
    grads = [torch.autograd.grad((out * pull).sum(), pixels)[0] for out in (ours, theirs)]
    torch.testing.assert_close(grads[0], grads[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"stride": 2}, {"padding": 1}, {"dilation": 2}])
def test_other_convolutions_stay(settings):
    model = nn.Sequential(convolution(**settings))
    assert isinstance(project_patches(model)[0], nn.Conv2d)


def test_patches_inside_a_model_are_found():
    model = nn.Sequential(nn.Sequential(convolution()), nn.ReLU())
    assert isinstance(project_patches(model)[0][0], PatchProjection)


def test_the_embedded_encoder_projects_its_patches():
    modules = load_encoder("bodyclip")._model.modules()
    assert any(isinstance(module, PatchProjection) for module in modules)
