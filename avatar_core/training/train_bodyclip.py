"""Trains BodyCLIP, or its judge, on image shards (see image_shards.py); resumable, sized by steps or by minutes.

The learning rate follows the share of the budget that is used, so a run on a slow or busy machine still ends cooled
down. Run `python -m avatar_core.training.train_bodyclip --help`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn

from avatar_core.errors import ConfigError
from avatar_core.seeds import derive_seed, numpy_generator
from avatar_core.training.architectures import ARCHITECTURES, Architecture
from avatar_core.training.bodyclip_batches import Backgrounds, Batch, BatchMaker, ShardPool
from avatar_core.training.bodyclip_export import export_bodyclip
from avatar_core.training.bodyclip_model import (
    FactHeads,
    TokenReader,
    contradictions,
    contrastive_loss,
    fact_sizes,
)
from avatar_core.training.captions import Captioner
from avatar_core.training.image_shards import read_bank_facts
from avatar_core.training.look_language import load_archetypes
from avatar_core.training.muon import Muon
from avatar_core.training.word_vectors import read_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """How BodyCLIP is trained."""

    batch: int = 160  # of each worker
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.03  # share of the budget
    keep_patches: int = 18  # of 36, until `full_from` of the budget
    full_from: float = 0.8
    seen_weight: float = 3.0  # facts read from images
    token_weight: float = 2.0  # facts read from patch tokens after layer `tap`
    cell_weight: float = 1.0  # labels read from each patch's token after layer `tap`
    said_weight: float = 1.0  # facts read from captions
    contrast_weight: float = 2.0
    tap: int = 4
    text_every: int = 2  # captions are read every so many steps only, until `joint_from` of the budget
    joint_from: float = 0.75
    noisy_from: float = 0.3  # of the budget; plain backgrounds before
    shape_weight: float = 3.0
    joint_weight: float = 2.0  # the pose, read from images and from patch tokens
    ema: float = 0.998
    bfloat16: bool = False  # matrix products in bfloat16
    backgrounds: int = 2048  # drawn once and reused
    held_out_shards: int = 2
    word_noise: float = 0.4  # on the words' vectors (of unit variance), so that unseen neighbours are read alike
    hard_share: float = 0.3  # hard negative captions for each caption


def learning_rate(config: TrainConfig, used: float) -> float:
    """Return the rate at a used share of the budget: linear warm-up, then cosine to a fiftieth."""
    if used < config.warmup:
        return config.learning_rate * max(used / config.warmup, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * min((used - config.warmup) / (1 - config.warmup), 1.0)))
    return config.learning_rate * (0.02 + 0.98 * cosine)


def batch_loss(
    architecture: Architecture,
    model: Any,
    heads: FactHeads,
    reader: TokenReader,
    batch: Batch,
    config: TrainConfig,
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """Return the training loss of a batch and its parts; a batch without texts trains the image tower alone.

    `generator` disturbs the words' vectors.
    """
    towers = _Towers(architecture, model, config.word_noise, generator)
    if config.bfloat16:
        halves = {name: one.bfloat16() for name, one in towers.named_parameters()}
        inputs = (batch.pixels.bfloat16(), batch.kept, batch.texts, config.tap)
        features, tokens, spoken = torch.func.functional_call(towers, halves, inputs)
    else:
        features, tokens, spoken = towers(batch.pixels, batch.kept, batch.texts, config.tap)
    images, tokens = torch.nn.functional.normalize(features.float(), dim=-1), tokens.float()
    parts = {
        "seen": heads.loss(images, batch.facts, batch.known),
        "token": reader.loss(tokens, batch.facts, batch.known),
        "cell": reader.cell_loss(tokens, batch.cells),
        "shape": heads.shape_loss(images, batch.betas),
        "joints": heads.joint_loss(images, batch.joints, batch.posed),
        "token joints": reader.joint_loss(tokens, batch.joints, batch.posed),
    }
    total = config.seen_weight * parts["seen"] + config.token_weight * parts["token"]
    total = total + config.cell_weight * parts["cell"] + config.shape_weight * parts["shape"]
    total = total + config.joint_weight * (parts["joints"] + parts["token joints"])
    if spoken is not None:
        texts = torch.nn.functional.normalize(spoken.float(), dim=-1)[batch.order]
        scale = model.logit_scale.clamp(max=4.6).exp()
        wrong = contradictions(batch.facts, batch.claims, batch.claimed)
        parts["contrast"] = contrastive_loss(images, texts, scale, wrong)
        parts["said"] = heads.loss(texts, batch.claims, batch.claimed)
        total = total + config.contrast_weight * parts["contrast"] + config.said_weight * parts["said"]
    return total, {name: part.item() for name, part in parts.items()}


class _Towers(nn.Module):
    """Both towers as one function of their parameters, so that a step can run on half-precision copies of them."""

    def __init__(
        self, architecture: Architecture, model: Any, word_noise: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self._architecture, self.model = architecture, model
        self._noise, self._generator = word_noise, generator

    def forward(
        self, pixels: Tensor, kept: Tensor | None, texts: list[tuple[Tensor, Tensor]], tap: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        features, tokens = self._architecture.image_features(self.model, pixels, kept, tap)
        disturbed = self._architecture.words(self.model).register_forward_hook(self._disturb)
        try:
            spoken = [self._architecture.text_features(self.model, *text) for text in texts]
        finally:
            disturbed.remove()
        return features, tokens, torch.cat(spoken) if spoken else None

    def _disturb(self, module: nn.Module, inputs: tuple, vectors: Tensor) -> Tensor:
        noise = torch.randn(vectors.shape, generator=self._generator, dtype=torch.float32)
        return vectors + (self._noise * noise).to(vectors)


class Trainer:
    """One training run in a folder: state, checkpoints and export.

    Args:
        bank: geometry bank folder (for its pose labels).
        images: image shards folder; it may grow while training goes on.
        words: vocabulary folder (word_vectors.py), or a CLIP checkpoint to take it from.
        out: run folder, for checkpoint and export.
        architecture, config, seed: of the run.
        workers: processes (with torch.distributed ready) that train together.
        start: checkpoint folder of the same architecture to begin from, in a folder that has none yet.

    Raises ConfigError where a worker finds no images.
    """

    def __init__(
        self,
        bank: Path,
        images: Path,
        words: Path,
        out: Path,
        architecture: Architecture,
        config: TrainConfig,
        seed: int,
        workers: int = 1,
        start: Path | None = None,
    ) -> None:
        self.architecture, self.config, self.seed, self.out, self.workers = architecture, config, seed, out, workers
        self.rank = distributed.get_rank() if workers > 1 else 0
        facts = read_bank_facts(bank)
        archetypes = load_archetypes()
        self.captioner = Captioner(archetypes, facts.labels)
        self.pool = ShardPool(images, config.held_out_shards, self.rank, workers)
        if not self.pool.refresh(at_most=10_000):
            raise ConfigError(
                f"{images} holds too few shards: {config.held_out_shards} are held out, and each of {workers} workers "
                "needs one; draw more with image_shards"
            )
        self.tokenizer, vectors = read_words(words)
        self.model = architecture.build(vectors, derive_seed(seed, "model"))
        sizes = fact_sizes(len(archetypes), len(facts.families))
        self.heads = FactHeads(architecture.projection, sizes, 6, derive_seed(seed, "heads"))
        self.reader = TokenReader(architecture.width, sizes, derive_seed(seed, "reader"))
        self.optimizers = self._make_optimizers()
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        size, rng = architecture.image_size, numpy_generator(seed, "backgrounds")
        self.backgrounds = [Backgrounds(size, config.backgrounds, rng, plain=plain) for plain in (True, False)]
        self.maker = BatchMaker(self.captioner, self.tokenizer, config.hard_share)
        self.step, self.elapsed = 0, 0.0
        if start is not None:
            begun = load_file(start / "model.safetensors")
            self.model.load_state_dict({name: value.float() for name, value in begun.items()})
        self._resume()

    def _make_optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """Muon for the layers' matrices, AdamW for everything else."""
        config = self.config
        layers = self.architecture.layers(self.model)
        matrices = [parameter for layer in layers for parameter in layer.parameters() if parameter.ndim == 2]
        chosen = set(map(id, matrices))
        others = [parameter for parameter in self._parameters() if id(parameter) not in chosen]
        groups = [
            {"params": [one for one in others if one.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [one for one in others if one.ndim < 2], "weight_decay": 0.0},
        ]
        precision = torch.bfloat16 if config.bfloat16 else torch.float32
        muon = Muon(matrices, config.learning_rate, weight_decay=config.weight_decay, precision=precision)
        return muon, torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98), fused=True)

    def _parameters(self) -> list[torch.nn.Parameter]:
        every = [*self.model.parameters(), *self.heads.parameters(), *self.reader.parameters()]
        return [parameter for parameter in every if parameter.requires_grad]

    def _resume(self) -> None:
        path = self.out / "checkpoint.safetensors"
        if not path.exists():
            return
        tensors = load_file(path)
        state = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.step, self.elapsed = state["step"], state["elapsed"]
        self.model.load_state_dict(_part(tensors, "model."))
        self.heads.load_state_dict(_part(tensors, "heads."))
        self.average = _part(tensors, "average.")
        self.reader.load_state_dict(_part(tensors, "reader."))
        for name, value in _part(tensors, "moment.").items():
            number, index, key = name.split(".")
            optimizer = self.optimizers[int(number)]
            optimizer.state[self._parameters()[int(index)]][key] = value
        logger.info("resumed at step %d", self.step)

    def save(self) -> None:
        """Write the checkpoint and export the averaged weights."""
        self.out.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"heads.{name}": value for name, value in self.heads.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        tensors |= {f"reader.{name}": value for name, value in self.reader.state_dict().items()}
        for number, optimizer in enumerate(self.optimizers):
            for index, parameter in enumerate(self._parameters()):
                state = optimizer.state.get(parameter, {})
                tensors |= {f"moment.{number}.{index}.{name}": value for name, value in state.items()}
        path = self.out / "checkpoint.safetensors"
        partial = path.with_suffix(".partial")
        save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, str(partial))
        facts = {"step": self.step, "elapsed": self.elapsed}
        path.with_suffix(".json").write_text(json.dumps(facts), encoding="utf-8")
        partial.replace(path)
        export_bodyclip(self.model, self.average, self.tokenizer, self.out / "export")

    def train_step(self, used: float) -> dict[str, float]:
        """Take one optimiser step at a used share of the budget; return the parts of the loss."""
        config = self.config
        rng = numpy_generator(self.seed, "batch", str(self.step), str(self.rank))
        keep = config.keep_patches if used < config.full_from and self.architecture.drops_patches else None
        talk = used >= config.joint_from or self.step % config.text_every == 0
        behind = self.backgrounds[used >= config.noisy_from]
        batch = self.maker.make(self.pool.sample(config.batch, rng), behind, rng, keep=keep, talk=talk)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(config, used) * min((self.step + 1) / 60, 1.0)
        self.model.train()
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        loss, parts = batch_loss(self.architecture, self.model, self.heads, self.reader, batch, config, generator)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._average_gradients(talk)
        torch.nn.utils.clip_grad_norm_(self._parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
        return parts

    def _average_gradients(self, talk: bool) -> None:
        """Average over the workers; without texts (`talk` false) their tower is left alone by all of them."""
        if self.workers == 1:
            return
        spared = set() if talk else set(map(id, (*self.model.text_model.parameters(), self.model.logit_scale)))
        spared |= set() if talk else {id(self.model.text_projection.weight)}
        trained = [parameter for parameter in self._parameters() if id(parameter) not in spared]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = torch.cat([gradient.flatten() for gradient in gradients]) / self.workers
        distributed.all_reduce(flat)
        for parameter, part in zip(trained, flat.split([gradient.numel() for gradient in gradients])):
            parameter.grad = part.view_as(parameter)

    def _agreed(self, value: float) -> float:
        """Return worker 0's value, so that all stop and cool down together."""
        if self.workers == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)

    def run(self, *, steps: int | None, minutes: float | None, save_every: float = 180.0) -> None:
        """Train until `steps` steps or `minutes` minutes of training time (resumed time counted) are used."""
        last_log = last_save = time.monotonic()
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        logged_from = self.step
        while True:
            used = self._agreed(self.step / steps if steps else self.elapsed / (60 * float(minutes or 1)))
            if used >= 1:
                break
            began = time.monotonic()
            parts = self.train_step(used)
            now = time.monotonic()
            self.elapsed += now - began
            for name, value in parts.items():
                sums[name], counts[name] = sums.get(name, 0.0) + value, counts.get(name, 0) + 1
            if now - last_log > 20:
                done = self.step - logged_from
                means = " ".join(f"{name} {value / counts[name]:.3f}" for name, value in sorted(sums.items()))
                held = self.pool.refresh(at_most=4)
                if self.rank == 0:
                    logger.info(
                        "step %d (%.0f%%) %s; %.2f s a step, %d shards, scale %.1f", self.step, 100 * used, means,
                        (now - last_log) / done, held, self.model.logit_scale.exp().item(),
                    )  # fmt: skip
                sums, counts, logged_from, last_log = {}, {}, self.step, time.monotonic()
            if self.rank == 0 and now - last_save > save_every:
                self.save()
                last_save = time.monotonic()
        if self.rank == 0:
            self.save()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def main() -> None:
    """Train from the command line."""
    shipped = Path(str(files("avatar_core") / "weights" / "bodyclip"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bank", type=Path, required=True, help="geometry bank (geometry_bank.py)")
    parser.add_argument("--images", type=Path, required=True, help="image shards (image_shards.py)")
    parser.add_argument("--words", type=Path, default=shipped, help="vocabulary folder; default: the shipped one")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="bodyclip", help="what to train")
    parser.add_argument("--start", type=Path, help="folder of the same architecture whose weights to begin from")
    parser.add_argument("--out", type=Path, required=True, help="run folder: checkpoint and export/")
    parser.add_argument("--steps", type=int, help="budget in steps (reproducible)")
    parser.add_argument("--minutes", type=float, help="budget in minutes of training")
    parser.add_argument("--batch", type=int, default=TrainConfig.batch)
    parser.add_argument("--text-every", type=int, default=TrainConfig.text_every, help="steps between captions")
    parser.add_argument("--workers", type=int, default=2, help="processes; steadier than threads on busy machines")
    parser.add_argument("--threads", type=int, default=1, help="threads of each worker")
    parser.add_argument("--bfloat16", action="store_true", help="matrix products in bfloat16 (where the processor can)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if (arguments.steps is None) == (arguments.minutes is None):
        parser.error("give either --steps or --minutes")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if arguments.bfloat16 and not multiplies_bfloat16():
        logger.warning("this processor has no bfloat16 arithmetic: training without --bfloat16 is many times faster")
    if arguments.workers == 1:
        _work(0, arguments)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(_work, (arguments,), nprocs=arguments.workers)


def multiplies_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 itself; AVX-512 alone does not."""
    if hasattr(torch.cpu, "get_capabilities"):  # since torch 2.10
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2")


def _work(rank: int, arguments: argparse.Namespace) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    if arguments.workers > 1:
        meeting = f"file://{(arguments.out / 'rendezvous').resolve()}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=arguments.workers)
    trainer = Trainer(
        arguments.bank, arguments.images, arguments.words, arguments.out, ARCHITECTURES[arguments.architecture],
        TrainConfig(batch=arguments.batch, bfloat16=arguments.bfloat16, text_every=arguments.text_every),
        arguments.seed, arguments.workers, arguments.start,
    )  # fmt: skip
    trainer.run(steps=arguments.steps, minutes=arguments.minutes)
    if arguments.workers > 1:
        distributed.barrier()  # nobody leaves while worker 0 still writes
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
