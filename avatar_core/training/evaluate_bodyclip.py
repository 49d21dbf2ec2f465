"""Measures an encoder on held-out image shards: retrieval, swapped captions and attributes named in words.

Run `python -m avatar_core.training.evaluate_bodyclip --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from avatar_core.perception.encoder import Encoder, load_encoder
from avatar_core.seeds import numpy_generator
from avatar_core.training.bodyclip_batches import known_facts
from avatar_core.training.bodyclip_model import contradictions
from avatar_core.training.captions import Caption, Captioner
from avatar_core.training.image_shards import ImageShard, read_bank_facts, read_image_shard
from avatar_core.training.look_language import load_archetypes
from avatar_core.training.palette import BASES
from avatar_core.training.scene import Scene, fact_slot

logger = logging.getLogger(__name__)

_COLOR_QUESTIONS: dict[str, str] = {
    "top": "a person wearing a {c} shirt", "bottom": "a person wearing {c} trousers",
    "full": "a person wearing a {c} dress", "feet": "a person wearing {c} shoes", "head": "a person wearing a {c} hat",
    "hands": "a person wearing {c} gloves",
}  # fmt: skip
_BODY_QUESTIONS: dict[str, dict[int, str]] = {
    "sex": {0: "a 3d rendering of a man", 1: "a 3d rendering of a woman"},
    "age": {
        0: "a 3d rendering of a child",
        1: "a 3d rendering of a young person",
        2: "a 3d rendering of an old person",
    },
    "weight": {0: "a 3d rendering of a skinny person", 2: "a 3d rendering of a fat person"},
    "height": {0: "a 3d rendering of a short person", 2: "a 3d rendering of a tall person"},
    "muscle": {1: "a 3d rendering of a person", 2: "a 3d rendering of a muscular person"},
    "view": {0: "the front of a person", 1: "a side view of a person", 2: "the back of a person"},
    "belly": {0: "a 3d rendering of a woman", 1: "a 3d rendering of a pregnant woman"},
    "close": {0: "a person", 1: "the face of a person", 2: "the hand of a person"},
}

UNSEEN_COLORS: dict[str, str] = {
    "red": "garnet", "orange": "apricot", "yellow": "canary", "green": "fern", "blue": "cerulean",
    "purple": "orchid", "pink": "blush", "brown": "hazelnut", "black": "onyx", "white": "chalk", "gray": "pewter",
}  # fmt: skip
"""Words for colours that no training caption uses."""
UNSEEN_GARMENTS: dict[str, str] = {"top": "a {c} jersey", "bottom": "{c} chinos", "full": "a {c} frock"}
"""Words for garments that no training caption uses."""


def encode_shard(encoder: Encoder, images: np.ndarray, batch: int = 100) -> Tensor:
    """Return unit vectors (N, D) of images (N, size, size, 3) uint8."""
    found = []
    with torch.no_grad():
        for start in range(0, len(images), batch):
            part = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2).float() / 255
            found.append(encoder.encode_images(part))
    return torch.cat(found)


def recall_at(similarity: Tensor, counts: tuple[int, ...], chosen: Tensor | None = None) -> dict[str, float]:
    """Return the share of rows of (N, N) whose own column is among the k most similar, for each k.

    Args:
        similarity: (N, N), rows seek columns.
        counts: the k.
        chosen: (N,) bool, which rows count, each among all columns; None is all. Nothing is said of no rows.
    """
    own = similarity.diagonal()[:, None]
    rank = (similarity > own).sum(1)
    if chosen is not None:
        rank = rank[chosen]
    if not len(rank):
        return {}
    return {f"R@{count}": float((rank < count).float().mean()) for count in counts}


def retrieval(features: Tensor, encoder: Encoder, scenes: list[Scene], captions: list[Caption]) -> dict[str, float]:
    """Return recalls among all pairs, both ways, and of captions when other true images are not counted as wrong."""
    texts = encoder.encode_texts([caption.text for caption in captions])
    similarity = texts @ features.mT
    facts = torch.from_numpy(np.stack([scene.facts() for scene in scenes]))
    claims = torch.from_numpy(np.stack([caption.facts for caption in captions]))
    claimed = torch.from_numpy(np.stack([caption.claimed for caption in captions]))
    wrong = contradictions(facts, claims, claimed).mT
    fair = similarity.masked_fill(~(wrong | torch.eye(len(scenes), dtype=torch.bool)), -1.0)
    scores = {f"text to image {name}": value for name, value in recall_at(similarity, (1, 5, 20)).items()}
    scores |= {f"image to text {name}": value for name, value in recall_at(similarity.mT, (1, 5, 20)).items()}
    scores |= {f"text to image, false ones only, {name}": value for name, value in recall_at(fair, (1, 5, 20)).items()}
    grey = torch.tensor([scene.mode == "textureless" for scene in scenes])
    for kind, chosen in (("textured", ~grey), ("grey", grey)):
        parts = recall_at(similarity, (1, 5, 20), chosen)
        scores |= {f"text to image, {kind} bodies, {name}": value for name, value in parts.items()}
    return scores


def full_caption(captioner: Captioner, scene: Scene, rng: np.random.Generator) -> Caption:
    """Return the caption that claims most among eight: what a full description says."""
    return max((captioner.caption(scene, rng) for _ in range(8)), key=lambda caption: int(caption.claimed.sum()))


def swap_test(
    features: Tensor, encoder: Encoder, scenes: list[Scene], captioner: Captioner, rng: np.random.Generator
) -> dict[str, float]:
    """Return how often the true caption beats its altered twin that claims something false, by kind of change."""
    pairs: list[tuple[int, str, str, bool]] = []
    for index, scene in enumerate(scenes):
        for seed in rng.integers(1 << 60, size=6):
            true = captioner.caption(scene, np.random.default_rng(int(seed)))
            false = captioner.hard_negative(scene, int(seed), rng)
            different = (false.facts != scene.facts()) & false.claimed
            if len(true.text.split()) == len(false.text.split()) and different.any() and true.text != false.text:
                colors = [fact_slot(layer.kind.category, "color") for layer in scene.look.layers]
                pairs.append((index, true.text, false.text, int(different[colors].sum()) >= 2))
                break
    shown = torch.tensor([pair[0] for pair in pairs])
    said = encoder.encode_texts([pair[1] for pair in pairs])
    altered = encoder.encode_texts([pair[2] for pair in pairs])
    better = ((features[shown] * said).sum(1) > (features[shown] * altered).sum(1)).float()
    swapped = torch.tensor([pair[3] for pair in pairs])
    return {"altered captions": float(better.mean()), "swapped colours": float(better[swapped].mean())}


def attributes(features: Tensor, encoder: Encoder, scenes: list[Scene]) -> dict[str, float]:
    """Return zero-shot accuracies of colours by garment (15 ways) and of body and view words."""
    facts = np.stack([scene.facts() for scene in scenes])
    known = np.stack([known_facts(scene) for scene in scenes])
    scores = {}
    for category, question in _COLOR_QUESTIONS.items():
        texts = encoder.encode_texts([question.format(c=name) for name in BASES])
        slot = fact_slot(category, "color")
        rows = np.flatnonzero(known[:, slot] & (facts[:, slot] >= 0) & (facts[:, slot] < len(BASES)))
        if not len(rows):
            continue
        guess = (features[rows] @ texts.mT).argmax(1).numpy()
        scores[f"colour of {category}"] = float((guess == facts[rows, slot]).mean())
    for name, questions in _BODY_QUESTIONS.items():
        texts = encoder.encode_texts(list(questions.values()))
        slot, values = fact_slot(name), np.asarray(list(questions))
        rows = np.flatnonzero(known[:, slot] & np.isin(facts[:, slot], values))
        guess = values[(features[rows] @ texts.mT).argmax(1).numpy()]
        shown = [value for value in values if (facts[rows, slot] == value).any()]
        if shown:
            scores[name] = float(np.mean([(guess[facts[rows, slot] == v] == v).mean() for v in shown]))
    return scores


def linear_readers(features: Tensor, scenes: list[Scene], folds: int = 4, ridge: float = 0.1) -> dict[str, float]:
    """Return how well linear readers fitted to some images' vectors tell body, pose and view of the other images.

    Each fact that an image shows is read by ridge regression onto its values, fitted without the fold that it is tried
    on; accuracies are averaged over the values, so that chance is one over their number.

    Args:
        features: (N, D) unit vectors of the images.
        scenes: what they show.
        folds: parts that the bodies are cut into.
        ridge: weight of the squared coefficients beside the mean squared error, for features of unit variance.
    """
    facts = np.stack([scene.facts() for scene in scenes])
    known = np.stack([known_facts(scene) for scene in scenes])
    bodies = np.unique([scene.betas for scene in scenes], axis=0, return_inverse=True)[1].reshape(-1)
    scores = {}
    for name in (*_BODY_QUESTIONS, "pose"):
        slot = fact_slot(name)
        rows = np.flatnonzero(known[:, slot])
        values, target = np.unique(facts[rows, slot], return_inverse=True)
        if len(values) < 2 or len(rows) < 2 * folds:
            continue
        inputs = features[rows].double()
        inputs = (inputs - inputs.mean(0)) / inputs.std(0).clamp_min(1e-6)
        inputs = torch.cat([inputs, torch.ones(len(rows), 1, dtype=torch.float64)], 1)
        wanted = torch.nn.functional.one_hot(torch.from_numpy(target), len(values)).double()
        wanted = wanted / wanted.mean(0).clamp_min(1e-6).sqrt()  # rare values count too
        guess = np.empty(len(rows), np.int64)
        fold = bodies[rows] % folds
        for part in range(folds):
            fitted, tried = torch.from_numpy(fold != part), torch.from_numpy(fold == part)
            penalty = ridge * int(fitted.sum()) * torch.eye(inputs.shape[1], dtype=torch.float64)
            shown = inputs[fitted]
            reader = torch.linalg.solve(shown.mT @ shown + penalty, shown.mT @ wanted[fitted])
            guess[tried.numpy()] = (inputs[tried] @ reader).argmax(1).numpy()
        hits = [(guess[target == value] == value).mean() for value in range(len(values))]
        scores[f"linear reader of {name} ({len(values)} values)"] = float(np.mean(hits))
    return scores


def synonyms(features: Tensor, encoder: Encoder, scenes: list[Scene]) -> dict[str, float]:
    """Return zero-shot accuracies (11 ways) of colours said in words that training never used, of garments too."""
    facts = np.stack([scene.facts() for scene in scenes])
    known = np.stack([known_facts(scene) for scene in scenes])
    values = np.asarray([BASES.index(name) for name in UNSEEN_COLORS])
    scores = {}
    for category, unseen in UNSEEN_GARMENTS.items():
        slot = fact_slot(category, "color")
        rows = np.flatnonzero(known[:, slot] & np.isin(facts[:, slot], values))
        seen = _COLOR_QUESTIONS[category]
        for kind, question, words in (
            ("known words", seen, UNSEEN_COLORS.keys()),
            ("unseen colours", seen, UNSEEN_COLORS.values()),
            ("unseen colours and garments", f"a person wearing {unseen}", UNSEEN_COLORS.values()),
        ):
            texts = encoder.encode_texts([question.format(c=word) for word in words])
            guess = values[(features[rows] @ texts.mT).argmax(1).numpy()]
            scores[f"colour of {category}, {kind}"] = float((guess == facts[rows, slot]).mean())
    return scores


def poses_and_archetypes(features: Tensor, encoder: Encoder, scenes: list[Scene], bank: Path) -> dict[str, float]:
    """Return how often the family of the pose, and the archetype, is the first (or among five) in words."""
    labels, archetypes = read_bank_facts(bank).labels, load_archetypes()
    texts = encoder.encode_texts([f"a rendered 3d man is {label.name}" for label in labels])
    rows = [i for i, scene in enumerate(scenes) if scene.kind in ("full", "standard")]
    families = np.asarray([label.family for label in labels])
    best = (features[rows] @ texts.mT).topk(min(5, len(labels)), dim=1).indices.numpy()
    right = families[best] == np.asarray([labels[scenes[i].pose].family for i in rows])[:, None]
    names = encoder.encode_texts([f"a 3d rendering of a {one.name} in unreal engine" for one in archetypes])
    worn = [i for i in rows if scenes[i].archetype >= 0 and scenes[i].mode != "textureless"]
    first = (features[worn] @ names.mT).topk(5, dim=1).indices.numpy()
    hit = first == np.asarray([scenes[i].archetype for i in worn])[:, None]
    return {
        "pose family, first": float(right[:, 0].mean()), "pose family, of five": float(right.any(1).mean()),
        "archetype, first": float(hit[:, 0].mean()), "archetype, of five": float(hit.any(1).mean()),
    }  # fmt: skip


def evaluate(encoder: Encoder, bank: Path, shard: ImageShard, seed: int = 0) -> dict[str, float]:
    """Return all measures of an encoder on one held-out shard."""
    captioner = Captioner(load_archetypes(), read_bank_facts(bank).labels)
    features = encode_shard(encoder, shard.images(seed))
    rng = numpy_generator(seed, "evaluate")
    captions = [full_caption(captioner, scene, rng) for scene in shard.scenes]
    scores = retrieval(features, encoder, shard.scenes, captions)
    scores |= swap_test(features, encoder, shard.scenes, captioner, rng)
    scores |= attributes(features, encoder, shard.scenes)
    scores |= synonyms(features, encoder, shard.scenes)
    scores |= linear_readers(features, shard.scenes)
    return scores | poses_and_archetypes(features, encoder, shard.scenes, bank)


def main() -> None:
    """Evaluate from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="bodyclip", help="embedded name, folder or hub name")
    parser.add_argument("--bank", type=Path, required=True, help="geometry bank that the images were drawn from")
    parser.add_argument("--shard", type=Path, required=True, help="held-out images-*.safetensors")
    parser.add_argument("--out", type=Path, help="where to write the scores as JSON")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scores = evaluate(load_encoder(arguments.encoder), arguments.bank, read_image_shard(arguments.shard))
    for name, value in scores.items():
        logger.info("%-48s %5.1f %%", name, 100 * value)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
