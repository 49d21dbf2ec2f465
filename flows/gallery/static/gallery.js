"use strict";
// Keyboard, reviews without leaving the page, endless lists and moving previews. Pages work without it, by links and
// forms; whatever is shown here comes escaped from the server, or goes in as text.

const WORDS = { approved: "Approved", rejected: "Rejected", requested: "New seed asked for" };
const KEYS = { a: "approved", r: "rejected", n: "requested", u: "withdrawn" };
const HOVER_DELAY = 220;
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const article = one("#avatar");
const grid = one("#cards");

// Messages

let toastTimer = 0;
function say(text, bad = false) {
  const toast = one(".toast");
  toast.textContent = text;
  toast.classList.toggle("bad", bad);
  toast.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { toast.hidden = true; }, bad ? 7000 : 1800);
}

// Reviews

function showReview(place, review) {
  place.dataset.review = review || "";
  const badge = one("[data-badge]", place);
  badge.className = `badge ${review || ""}`;
  badge.textContent = WORDS[review] || "";
  badge.hidden = !review;
  const undo = one(".undo", place);
  if (undo) undo.hidden = !review;
  const hint = one("[data-requested]", place);
  if (hint) hint.hidden = review !== "requested";
}

async function send(place, status) {
  const form = one(".acts", place);
  if (!form || !one(`button[value=${status}]`, form)) return false;
  const body = new URLSearchParams({ status, key: place.dataset.key });
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    showReview(place, told.review);
    sessionStorage.setItem(`review ${place.dataset.avatar} ${place.dataset.key}`, told.review || "");
    say(told.said);
    return true;
  } catch (error) {
    say(error.message || "The gallery cannot be reached.", true);
    return false;
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.classList.contains("acts")) {
    event.preventDefault();
    send(form.closest("[data-avatar]"), event.submitter.value);
  } else if (form.method === "get") {
    for (const field of form.elements) field.disabled = field.value === (field.dataset.default || ""); // a short address
  }
});

// A list that comes back from the browser's memory shows what was said on the avatars' pages meanwhile.
addEventListener("pageshow", (event) => {
  for (const field of all("form [disabled]")) field.disabled = false;
  if (!event.persisted) return;
  for (const card of all(".card")) {
    const review = sessionStorage.getItem(`review ${card.dataset.avatar} ${card.dataset.key}`);
    if (review !== null) showReview(card, review);
  }
});

// Lists

const cards = () => all(".card", grid);
const current = () => document.activeElement?.closest(".card");
const columns = () => getComputedStyle(grid).gridTemplateColumns.split(" ").length;

function focusCard(card) {
  const link = card && one(".picture", card);
  if (!link) return;
  link.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
}

async function move(step) {
  let list = cards();
  const from = current();
  if (!from) return focusCard(list.find((card) => card.getBoundingClientRect().bottom > 120) || list[0]);
  const to = list.indexOf(from) + step;
  if (to >= list.length) {
    await loadMore();
    list = cards();
  }
  focusCard(list[Math.min(to, list.length - 1)] && to >= 0 ? list[Math.min(to, list.length - 1)] : null);
}

let loading = null;
function loadMore() {
  loading ||= addCards().finally(() => { loading = null; });
  return loading;
}

async function addCards() {
  const more = one(".more", grid);
  const link = more && one("a", more);
  if (!link) return;
  try {
    const answer = await fetch(link.dataset.cards);
    if (!answer.ok) throw new Error("The gallery could not read on.");
    const part = document.createElement("template");
    part.innerHTML = await answer.text();
    const known = new Set(cards().map((card) => card.dataset.avatar));
    for (const card of all(".card", part.content)) if (known.has(card.dataset.avatar)) card.remove();
    more.replaceWith(part.content);
    watchMore();
  } catch (error) {
    say(error.message, true);
  }
}

const sight = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) loadMore();
}, { rootMargin: "1200px" });
function watchMore() {
  sight.disconnect();
  const more = grid && one(".more", grid);
  if (more) sight.observe(more);
}
watchMore();

for (const field of all("[data-auto]")) field.addEventListener("change", () => field.form.requestSubmit());

// Previews that move, under the pointer or the keyboard's focus

let film = null;
let filmTimer = 0;
function stopFilm() {
  clearTimeout(filmTimer);
  film?.remove();
  film = null;
}
function startFilm(picture) {
  stopFilm();
  if (calm || !picture.dataset.film) return;
  filmTimer = setTimeout(() => {
    film = document.createElement("video");
    Object.assign(film, { muted: true, loop: true, playsInline: true, src: picture.dataset.film });
    film.style.opacity = "0";
    film.addEventListener("playing", (event) => { event.target.style.opacity = "1"; });
    film.addEventListener("error", (event) => event.target.remove());
    picture.append(film);
    film.play().catch(() => {}); // a browser that does not let it play shows the picture
  }, HOVER_DELAY);
}
if (grid) {
  for (const [begin, end] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    grid.addEventListener(begin, (event) => {
      const picture = event.target.closest(".picture");
      if (picture && !picture.contains(event.relatedTarget)) startFilm(picture);
    });
    grid.addEventListener(end, (event) => {
      const picture = event.target.closest(".picture");
      if (picture && !picture.contains(event.relatedTarget)) stopFilm();
    });
  }
}

// Keyboard

const go = (rel) => { const link = one(`a[rel=${rel}]`); if (link) link.click(); return Boolean(link); };
const help = one(".help");
for (const button of all("[data-help]")) button.addEventListener("click", () => help.showModal());

async function judge(status, onward) {
  const place = article || current();
  if (!place) return;
  if (!(await send(place, status)) || !onward) return;
  if (article) go("next");
  else move(1);
}

function listKey(key) {
  const steps = { j: 1, k: -1, ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() };
  if (!(key in steps)) return false;
  move(steps[key]);
  return true;
}

function avatarKey(key) {
  if (key === "j" || key === "ArrowRight") return go("next");
  if (key === "k" || key === "ArrowLeft") return go("prev");
  if (key === "Escape") { one("#back").click(); return true; }
  return false;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest("input, select, textarea, video")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const status = KEYS[event.key.toLowerCase()];
  let used = true;
  if (event.key === "/") { one("#q").focus(); one("#q").select(); }
  else if (event.key === "?") help.showModal();
  else if (status) judge(status, event.shiftKey);
  else if (article) used = avatarKey(event.key);
  else used = Boolean(grid) && listKey(event.key);
  if (used) event.preventDefault();
});
