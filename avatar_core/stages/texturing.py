"""Stage texturing: sculpt and colour an implicit avatar until an image-text model sees its prompt in it."""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from avatar_core.errors import DivergenceError, Interrupted
from avatar_core.fields.field_inquiry import Asked, Inquiry
from avatar_core.fields.field_renderer import FieldViews, render_field, rendering
from avatar_core.fields.neus import Sharpness
from avatar_core.fields.shell import Glance, shell_of
from avatar_core.perception.precision import for_guidance
from avatar_core.perception.prompts import appearance_prompts
from avatar_core.seeds import torch_generator
from avatar_core.stages.base import StageContext
from avatar_core.stages.implicit_init import ImplicitAvatar
from avatar_core.stages.outfit_search import search_outfit
from avatar_core.stages.texturing_config import Config
from avatar_core.stages.texturing_film import Film, FilmCamera
from avatar_core.stages.texturing_ledger import Ledger
from avatar_core.stages.texturing_losses import (
    Loss,
    check_names,
    guidance,
    guided_images,
    neighbours,
    own_losses,
    total_loss,
)
from avatar_core.stages.texturing_plateau import has_stalled
from avatar_core.stages.texturing_recovery import Diverged, Effort, Event, Setback, setback_of
from avatar_core.stages.texturing_result import TexturedAvatar
from avatar_core.stages.texturing_views import PROMPT_KINDS, Subject, Views, draw_views, scoring_views
from avatar_core.transfers import sent

NAME = "texturing"
VERSION = 8
logger = logging.getLogger(__name__)

__all__ = ["NAME", "VERSION", "Config", "TexturedAvatar", "TexturingRun", "run"]


def run(
    avatar: ImplicitAvatar,
    prompt: str,
    *,
    config: Config,
    seed: int,
    context: StageContext,
    losses: Mapping[str, Loss] | None = None,
) -> TexturedAvatar:
    """Optimise `avatar` towards the appearance `prompt`.

    First an outfit is searched for (discrete: what is worn and its colours), then field and colours are
    refined by gradients through rendered views. Interrupted runs continue from `context.checkpoint` as if
    they had not stopped: every step draws from a generator of its own.

    A step that diverges, or for which memory is wanting, takes the run back to its last checkpoint; from there it
    goes on with smaller rates, or smaller steps. The result's `events` tell of it.

    `losses` are the caller's own, by name: they are added to ours in every step, and the result's `history` has them
    under their names. Stage keys cannot name code, so no run of a catalog passes any: results that were made with own
    losses, and checkpoints of such runs, are the caller's to keep apart.

    Raises DivergenceError when the loss diverges again and again, MemoryError when the smallest step is too large, and
    ConfigError for a loss of the caller's that is called as one of ours or gives no scalar.
    """
    work = TexturingRun(avatar, prompt, config, seed, context, losses)
    work.start()
    while not work.finished:
        setback = work.attempt()
        if setback is not None:
            work.go_back(setback)
    return work.result()


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a step looks at, before it looks: nothing of it depends on what earlier steps learn."""

    step: int
    views: Views
    glance: Glance
    noise: torch.Generator  # of the step's further draws, on the field's device


@dataclass(frozen=True, eq=False)
class Shown:
    """The views of one step on their way to the image-text model."""

    rendered: FieldViews
    images: Tensor  # (N, 3, H, W) in [0, 1]
    texts: Tensor  # (N, D) unit text features that they are compared with
    neighbour_change: Tensor  # (P, 3) learned change of the albedo's logits near the P surface points


class TexturingRun:
    """One run step by step: `begin` or `restore`, `attempt` or `advance` as often as wanted, `result`.

    Its state is field, optimiser, history and film; everything else follows from the inputs, which are those of `run`.
    """

    def __init__(
        self,
        avatar: ImplicitAvatar,
        prompt: str,
        config: Config,
        seed: int,
        context: StageContext,
        losses: Mapping[str, Loss] | None = None,
    ) -> None:
        self.config, self.seed, self.context = config, seed, context
        self.losses = dict(losses or {})
        check_names(self.losses)
        self.betas, self.prompt = avatar.betas, prompt
        self.shaped = context.body.shape(avatar.betas.to(context.device))
        self.subject = Subject.of(context.body, self.shaped)
        prompts = appearance_prompts(prompt, self.subject.sex)
        self.targets = context.encoder.encode_texts([prompts[kind] for kind in PROMPT_KINDS]).to(context.device)
        self.guide = for_guidance(context.encoder, config.guidance_dtype)
        self.field = avatar.field(context.body)
        self.sharpness = Sharpness(config.initial_sharpness).to(context.device)
        self.step = 0
        self.score_before = math.nan
        self.outfit: dict[str, Any] = {}
        self.regions: tuple[str, ...] = ()
        self.ledger = Ledger(config.recovery)
        self.camera = FilmCamera(self.shaped.vertices, config.film, config.intervals)
        self.film = Film.empty(config.film)
        self.effort = Effort()
        self.events: list[Event] = []
        # Whether a step is queued on the device without waiting for it: its rays are looked for while the step before
        # it is being worked on, and all of them are shaded, as it is not known here which ones show the avatar.
        self.queued = context.device.type == "cuda"
        self._next: Drawn | None = None
        self.finished = config.steps == 0

    def start(self) -> None:
        """Continue from the caller's checkpoint, or begin."""
        checkpoint = self.context.checkpoint
        resumed = checkpoint.load() if checkpoint is not None else None
        if resumed is not None:
            self.restore(*resumed)
            logger.info("texturing continues at step %d of %d", self.step, self.config.steps)
        else:
            self.begin()
            self.keep()

    def begin(self) -> None:
        """Score the untouched avatar and dress it."""
        self.score_before = self.score()
        self.shell = shell_of(self.field)
        self._shoot("body")
        if self.config.outfit_search:
            outfit = search_outfit(
                self.context.body,
                self.shaped,
                self.subject,
                self.prompt,
                self.targets,
                self.context.encoder,
                self.config.search,
                torch_generator(self.seed, NAME, "outfit"),
                self.context.progress,
            )
            self.field.dress(outfit.membership, outfit.colors, outfit.thickness, outfit.volumes, outfit.freedom)
            self.outfit, self.regions = outfit.summary(), outfit.regions
        self._prepare()
        if self.config.outfit_search:
            self._shoot("outfit")

    def _prepare(self) -> None:
        """Build what depends on the dressed field."""
        self.shell, self._next = shell_of(self.field), None
        rates = self.config.rates
        self.optimizer = torch.optim.Adam(
            [
                *({"params": group, "lr": getattr(rates, name)} for name, group in self.field.network.rates()),
                {"params": [self.field.base.logits], "lr": rates.palette},
                {"params": self.sharpness.parameters(), "lr": rates.sharpness},
            ],
            betas=(0.9, 0.99),
            eps=1e-10,
            fused=self.context.device.type == "cuda",
        )
        self._rates = [group["lr"] for group in self.optimizer.param_groups]

    def attempt(self) -> Setback | None:
        """Take one optimisation step; where it failed return how to go on, from the last good state."""
        try:
            self.advance()
        except (Diverged, RuntimeError, MemoryError) as error:
            return self.setback(error)
        self.look_back()
        return None

    def setback(self, error: Exception) -> Setback:
        """Return how to go on after a step that raised `error`; raises it where there is no way."""
        # What was looked at late diverged at the first step that the history lacks.
        before = len(self.history) if isinstance(error, Diverged) else self.step
        views, recovery = self.config.views_per_step, self.config.recovery
        return setback_of(error, before + 1, self.effort, views, self._edge(before), recovery)

    def advance(self) -> None:
        """Take one optimisation step; raises Diverged where the loss or a gradient tells not to."""
        shown = self.show()
        loss = self.weigh(shown, guidance(self.guide, shown.images, shown.texts))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.learn()

    def show(self) -> Shown:
        """Begin a step: render its views."""
        return self.field.answer(self.showing())

    def showing(self) -> Inquiry[Shown]:
        """Begin a step: set its rates and grid levels, and return the rendering of its views."""
        self._schedule(self.step / max(self.config.steps, 1))
        return self._showing()

    def _showing(self) -> Inquiry[Shown]:
        config = self.config
        drawn, self._next = self.look_ahead(self.step), None
        rays, views = drawn.glance.rays(), drawn.views
        if self.queued and self.step + 1 < config.steps:
            self.look_ahead(self.step + 1)
        rendered = yield from rendering(
            self.field,
            self.shell,
            views.cameras,
            views.lights,
            views.background,
            self.sharpness(),
            intervals=config.intervals,
            clay=config.losses.clay > 0,
            generator=drawn.noise,
            rays=rays,
            sparse=not self.queued,
        )
        learned = yield Asked(color=neighbours(rendered, config.losses, drawn.noise))
        images, texts = guided_images(rendered, self.targets[views.prompt], config.losses, self.step)
        return Shown(rendered, images, texts, learned.color)

    def look_ahead(self, step: int) -> Drawn:
        """Draw the views of a step and begin to look for their rays, unless that is done."""
        if self._next is None or self._next.step != step:
            self._next = self._draw(step)
        return self._next

    def _draw(self, step: int) -> Drawn:
        device = self.context.device
        generator = torch_generator(self.seed, NAME, "step", str(step))
        count, edge = self.effort.step_size(self.config.views_per_step, self._edge(step))
        views = draw_views(self.subject, self.config.views, count, edge, step, generator)
        jitter = torch.rand(count, 2, generator=generator) - 0.5
        glance = self.shell.look(views.cameras, self.field.dressed_sdf, sent(jitter, device))
        # Millions of numbers: a GPU draws them itself, from a generator of its own.
        noise = generator
        if device.type == "cuda":
            noise = torch_generator(self.seed, NAME, "noise", str(step), device=device)
        return Drawn(step, views, glance, noise)

    def weigh(self, shown: Shown, disagreement: Tensor) -> Tensor:
        """Go on with a step: return its loss (scalar), given the 1 - cosine (N,) of the images and texts shown."""
        loss, self._parts = total_loss(
            shown.rendered, disagreement, self.field, self.config.losses, shown.neighbour_change
        )
        for name, value in own_losses(self.losses, shown.rendered, self.field).items():
            loss = loss + value
            self._parts[name] = value.detach()
        self._loss = loss.detach()
        return loss

    def learn(self) -> None:
        """End a step whose loss has gone backward; raises Diverged where this step or one before tells not to."""
        groups = self.optimizer.param_groups
        self.ledger.note(self._loss, self._parts, (parameter for group in groups for parameter in group["params"]))
        if self._looks_after(self.step + 1):
            self.ledger.look()
        self.optimizer.step()
        self.step += 1

    def _looks_after(self, step: int) -> bool:
        """Tell whether the numbers up to those of this step are looked at before its change is made."""
        config = self.config
        plateau = config.plateau.window if config.plateau.patience else step + 1
        together = config.recovery.looked_at_together(self.context.device)
        return step == config.steps or not all(step % every for every in (together, config.checkpoint_every, plateau))

    @property
    def history(self) -> list[dict[str, float]]:
        """Each step's number, loss and parts of the loss before weighting, of the steps that were looked at."""
        return self.ledger.history

    def look_back(self) -> None:
        """After a step: see whether the run is over, take the picture and keep the checkpoint that are due."""
        config = self.config
        stalled = has_stalled(self.history, config.full_detail_from(), config.losses, config.plateau)
        self.finished = stalled or self.step == config.steps
        if stalled and self.step < config.steps:
            reason = f"the guidance loss did not fall by {config.plateau.gain} in {config.plateau.patience} steps"
            self.events.append(self._event(Setback(self.step, "plateau", reason, self.effort)))
        if self.finished or config.film.due(self.step, config.steps):
            self._shoot(f"step {self.step}")
        self.context.progress(self.step, config.steps, f"loss {self.history[-1]['loss']:.3f}" if self.history else "")
        stopping = self.context.stop() and not self.finished
        if not self.finished and (stopping or self.step % config.checkpoint_every == 0):
            self.keep()
        if stopping:
            raise Interrupted(f"texturing stopped at step {self.step} of {config.steps}")

    def _edge(self, done: int) -> int:
        """Edge in pixels of the views of the step after `done` steps, where memory suffices."""
        return self.config.resolution_at(done / max(self.config.steps, 1))

    def _event(self, setback: Setback) -> Event:
        """Tell of a setback from the step where the run goes on."""
        effort = setback.effort
        views, edge = effort.step_size(self.config.views_per_step, self._edge(setback.step - 1))
        return Event(setback.step, setback.kind, setback.reason, self.step, effort.rate_factor, views, edge)

    def _shoot(self, label: str) -> None:
        self.film = self.film.with_frame(label, self.camera.shoot(self.field, self.shell, self.sharpness()))

    def _schedule(self, done: float) -> None:
        """Set learning rates and active grid levels for the part `done` in [0, 1) of the run."""
        warm = min(1.0, (self.step + 1) / self.config.warmup_steps)
        decay = self.config.final_rate + (1 - self.config.final_rate) * 0.5 * (1 + math.cos(math.pi * done))
        for group, rate in zip(self.optimizer.param_groups, self._rates):
            group["lr"] = rate * warm * decay * self.effort.rate_factor
        opened = min(1.0, done / self.config.full_detail_at)
        self.field.network.reveal(opened, self.config.first_levels)

    @torch.no_grad()
    def score(self) -> float:
        """Mean cosine of the fixed views with their prompts."""
        views = scoring_views(self.subject, self.config.score_size)
        rendered = render_field(
            self.field,
            shell_of(self.field),
            views.cameras,
            views.lights,
            views.background,
            self.sharpness(),
            intervals=2 * self.config.intervals,
            clay=False,
        )
        features = self.context.encoder.encode_images(rendered.image)
        return float((features * self.targets[views.prompt]).sum(1).mean())

    def keep(self) -> None:
        """Remember the state as the last good one, and save it where the caller keeps checkpoints."""
        state = {
            "field": self.field.state(),
            "sharpness": self.sharpness.log_scale.detach().clone(),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "score_before": self.score_before,
            "outfit": self.outfit,
            "regions": self.regions,
            "history": list(self.history),
            "film": {"labels": self.film.labels, "frames": self.film.frames},
            "effort": asdict(self.effort),
            "events": [asdict(event) for event in self.events],
        }
        self.good = (state, self.step)
        if self.context.checkpoint is not None:
            self.context.checkpoint.save(state, self.step)

    def restore(self, state: dict[str, Any], step: int) -> None:
        """Take over a state that was kept."""
        self.good = (state, step)
        self.field.load(state["field"])
        self._prepare()
        with torch.no_grad():
            self.sharpness.log_scale.copy_(state["sharpness"])
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.score_before, self.ledger = state["score_before"], Ledger(self.config.recovery, state["history"])
        self.outfit, self.regions = state["outfit"], tuple(state["regions"])
        self.film = Film(**state["film"])
        self.effort, self.events = Effort(**state["effort"]), [Event(**event) for event in state["events"]]
        self.step = step

    def go_back(self, setback: Setback) -> None:
        """Return to the last good state and go on from there with less effort.

        The state is kept again at once, so that a run that is killed now does not forget the setback.
        Raises DivergenceError when the run has gone back often enough.
        """
        recovery, events = self.config.recovery, self.events
        if setback.kind == "divergence" and sum(e.kind == "divergence" for e in events) >= recovery.rollbacks:
            raise DivergenceError(
                f"texturing diverged at step {setback.step} ({setback.reason}), after going back "
                f"{recovery.rollbacks} times, with {self.effort.rate_factor:g} of the learning rates at last: run it "
                "again with another seed, or lower texturing.rates (half is a good first try)"
            )
        self.restore(*self.good)
        if setback.kind == "memory" and self.context.device.type == "cuda":
            torch.cuda.empty_cache()
        event = self._event(setback)
        self.effort, self.events = setback.effort, [*events, event]
        logger.warning("texturing goes back from step %d to step %d: %s", setback.step, self.step, setback.reason)
        self.keep()

    def result(self) -> TexturedAvatar:
        """Score the field as it is now and pack it."""
        self.field.network.reveal(1.0, self.config.first_levels)
        return TexturedAvatar(
            betas=self.betas,
            state=self.field.state(),
            score_before=self.score_before,
            score_after=self.score(),
            outfit=self.outfit,
            history=self.history,
            film=self.film,
            events=tuple(self.events),
            regions=self.regions,
        )
