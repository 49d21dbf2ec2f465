"""The keys of the section `model` of AvatarCLIP's files: the networks' sizes and the sampling of rays."""

from __future__ import annotations

from avatar_core.avatarclip.rules import Entry, Fate, Outcome, Rule, always, ignored, whole

_SDF, _COLOR, _RENDERER = "model.sdf_network", "model.rendering_network", "model.neus_renderer"
_FIELD = "implicit_init.field.positional"
_FEATURES = "the distance's network passes as many features on as its layers are wide"
MOST_INTERVALS = 1024


def _skip(entry: Entry) -> Outcome:
    layers = entry.other(f"{_SDF}.n_layers").value
    return always([layers], "the encoded position joins in again before the last layer")(entry)


def _features(above: int) -> Rule:
    def rule(entry: Entry) -> Outcome:
        width = entry.other(f"{_SDF}.d_hidden").value
        expected = width + above if isinstance(width, int) and not isinstance(width, bool) else None
        return always(expected, _FEATURES)(entry)

    return rule


def _width(entry: Entry) -> Outcome:
    octaves = entry.other(f"{_SDF}.multires")
    encoded = 3 + 6 * (6 if octaves.value is None else octaves.whole(0, 12))
    return Outcome(Fate.MAPPED, {f"{_FIELD}.sdf_width": entry.whole(encoded + 1, 1024)})


def _samples(entry: Entry) -> Outcome:
    other = f"{_RENDERER}.n_importance" if entry.key.endswith("n_samples") else f"{_RENDERER}.n_samples"
    more = entry.other(other)
    count = entry.whole(0, MOST_INTERVALS) + (0 if more.value is None else more.whole(0, MOST_INTERVALS))
    reason = "both together in one pass through the shell about the body"
    return Outcome(Fate.MAPPED, {"texturing.intervals": max(2, count)}, reason)


MODEL: dict[str, Rule] = {
    f"{_SDF}.d_in": always(3, "positions"),
    f"{_SDF}.d_out": _features(1),
    f"{_SDF}.d_hidden": _width,
    f"{_SDF}.n_layers": whole(f"{_FIELD}.sdf_layers", low=1, high=16),
    f"{_SDF}.skip_in": _skip,
    f"{_SDF}.multires": whole(f"{_FIELD}.octaves", low=0, high=12),
    f"{_SDF}.bias": ignored("the radius of NeuS's first sphere; the field starts as the body"),
    f"{_SDF}.scale": always(1.0, "metres"),
    f"{_SDF}.geometric_init": always(True, "but the network's distance starts at zero, beside the body's own"),
    f"{_SDF}.weight_norm": always(True, "weights are normalised"),
    f"{_SDF}.inside_outside": always(False, "the body is seen from outside"),
    "model.variance_network.init_val": ignored(
        "AvatarCLIP overwrites it with that of the model that it starts from; here see texturing.initial_sharpness"
    ),
    f"{_COLOR}.d_feature": _features(0),
    f"{_COLOR}.mode": always("no_view_dir", "colours do not depend on the direction of view"),
    f"{_COLOR}.d_in": always(6, "position and slope"),
    f"{_COLOR}.d_out": always(3, "red, green and blue"),
    f"{_COLOR}.d_hidden": whole(f"{_FIELD}.color_width", low=8, high=1024),
    f"{_COLOR}.n_layers": whole(f"{_FIELD}.color_layers", low=1, high=16),
    f"{_COLOR}.weight_norm": always(True, "weights are normalised"),
    f"{_COLOR}.multires_view": always(0, "colours do not depend on the direction of view"),
    f"{_COLOR}.squeeze_out": always(True, "colours pass through a sigmoid"),
    f"{_COLOR}.extra_color": always(True, "one linear head, the texture's: there is no template's render to copy"),
    f"{_RENDERER}.n_samples": _samples,
    f"{_RENDERER}.n_importance": _samples,
    f"{_RENDERER}.n_outside": always(0, "nothing is modelled outside the shell"),
    f"{_RENDERER}.up_sample_steps": ignored("one pass: the shell is where the surface is"),
    f"{_RENDERER}.perturb": always(1.0, "each sample moves inside its own stretch"),
    f"{_RENDERER}.extra_color": always(True, "see rendering_network.extra_color"),
}
MODEL_PREFIXES: dict[str, Rule] = {
    "model.nerf.": ignored("the background's network, which AvatarCLIP does not build"),
}
