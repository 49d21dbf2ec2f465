"use strict";
// The avatar's model, playing its clips, by three.js: drag turns, the wheel or two fingers come closer.

(() => {
  const box = document.querySelector("#viewer");
  const said = box.querySelector(".said");
  const transport = document.querySelector("#transport");
  if (!globalThis.THREE) return;

  const FOV = 26;
  const FRAME = 1.24; // how much larger than the avatar the view is
  const FADE = 0.25; // seconds from one clip to the next
  const TURN = 0.5; // radians a second
  const FOLLOW = 4; // how quickly the camera goes along, 1 / seconds

  function fail(text) {
    said.textContent = text;
    said.hidden = false;
  }

  let renderer;
  try {
    renderer = new THREE.WebGLRenderer({ canvas: box.querySelector("canvas"), antialias: true, alpha: true });
  } catch {
    fail("This browser has no WebGL. The films below show the avatar.");
    return;
  }
  renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
  renderer.outputEncoding = THREE.sRGBEncoding;
  renderer.shadowMap.enabled = true;
  renderer.shadowMap.type = THREE.PCFSoftShadowMap;

  const scene = new THREE.Scene();
  const camera = new THREE.PerspectiveCamera(FOV, 1, 0.05, 100);
  const rig = new THREE.Group(); // light and floor go along with the avatar
  scene.add(rig);
  rig.add(new THREE.HemisphereLight(0xffffff, 0xb9b2a6, 0.62));
  const key = new THREE.DirectionalLight(0xfff4e6, 0.72);
  key.position.set(1.6, 3.4, 2.6);
  key.castShadow = true;
  key.shadow.mapSize.set(1024, 1024);
  key.shadow.bias = -0.0006;
  key.shadow.normalBias = 0.02;
  Object.assign(key.shadow.camera, { left: -1.6, right: 1.6, top: 2.2, bottom: -1.6, near: 0.5, far: 9 });
  const back = new THREE.DirectionalLight(0xdfe8ff, 0.38);
  back.position.set(-2, 2.2, -2.4);
  rig.add(key, key.target, back);
  const floor = new THREE.Mesh(new THREE.CircleGeometry(4, 64), new THREE.ShadowMaterial({ opacity: 0.22 }));
  floor.rotation.x = -Math.PI / 2;
  floor.receiveShadow = true;
  rig.add(floor);

  // The camera goes round a point at half the avatar's height.
  const view = { azimuth: 0.35, elevation: 0.1, distance: 4, near: 1, height: 0.9 };
  const centre = new THREE.Vector3();
  let mixer = null;
  let actions = [];
  let hips = null;
  let bones = [];
  let turning = false;
  let paused = false;
  let shown = 0;

  function place() {
    const reach = view.distance * view.near;
    camera.position.set(
      centre.x + reach * Math.sin(view.azimuth) * Math.cos(view.elevation),
      view.height + reach * Math.sin(view.elevation),
      centre.z + reach * Math.cos(view.azimuth) * Math.cos(view.elevation),
    );
    camera.lookAt(centre.x, view.height, centre.z);
    rig.position.set(centre.x, 0, centre.z);
  }

  function fit() {
    const { clientWidth: width, clientHeight: height } = box;
    renderer.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
  }

  const clock = new THREE.Clock();
  const at = new THREE.Vector3();
  function frame() {
    const seconds = Math.min(clock.getDelta(), 0.1);
    if (mixer && !paused) mixer.update(seconds);
    if (turning) view.azimuth += TURN * seconds;
    if (hips) {
      hips.getWorldPosition(at);
      centre.lerp(at, 1 - Math.exp(-FOLLOW * seconds));
    }
    place();
    renderer.render(scene, camera);
  }

  function play(number) {
    if (!actions[number]) return;
    const next = actions[number].reset().play();
    if (actions[shown] && shown !== number) next.crossFadeFrom(actions[shown], FADE, false);
    shown = number;
    box.dataset.clip = next.getClip().name;
    transport.querySelectorAll(".clips button").forEach((button, place) => {
      button.setAttribute("aria-pressed", String(place === number));
    });
    setPaused(false);
  }

  function setPaused(value) {
    paused = value;
    transport.classList.toggle("paused", value);
  }

  function setTurning(value) {
    turning = value;
    transport.querySelector("[data-turn]").setAttribute("aria-pressed", String(value));
  }

  function offerClips(clips) {
    const group = transport.querySelector(".clips");
    clips.forEach((clip, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = clip.name;
      button.title = `${clip.duration.toFixed(1)} s`;
      button.addEventListener("click", () => play(number));
      group.append(button);
    });
    transport.querySelector("[data-play]").addEventListener("click", () => setPaused(!paused));
    transport.querySelector("[data-turn]").addEventListener("click", () => setTurning(!turning));
    transport.hidden = clips.length === 0;
  }

  function show(model) {
    model.scene.traverse((node) => {
      if (!node.isMesh) return;
      node.castShadow = node.receiveShadow = true;
      node.frustumCulled = false; // a skinned mesh moves out of the bounds that it was loaded with
      if (node.skeleton) bones = node.skeleton.bones;
    });
    scene.add(model.scene);
    hips = model.scene.getObjectByName("Hips") || null;
    const bounds = new THREE.Box3().setFromObject(model.scene);
    const height = bounds.max.y - bounds.min.y;
    view.height = bounds.min.y + height * 0.5;
    floor.position.y = bounds.min.y;
    const half = Math.tan((FOV / 2) * (Math.PI / 180));
    view.distance = (FRAME * height) / 2 / half / Math.min(1, camera.aspect * 1.15);
    mixer = new THREE.AnimationMixer(model.scene);
    actions = model.animations.map((clip) => mixer.clipAction(clip));
    offerClips(model.animations);
    play(0);
    mixer.update(0);
    if (hips) hips.getWorldPosition(centre);
    said.hidden = true;
    box.dataset.ready = "yes";
  }

  // Pointers: one turns, two come closer
  const pointers = new Map();
  const gap = () => {
    const [first, second] = [...pointers.values()];
    return Math.hypot(first.x - second.x, first.y - second.y);
  };
  const closer = (factor) => { view.near = Math.min(2.5, Math.max(0.22, view.near * factor)); };
  box.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    box.setPointerCapture(event.pointerId);
  });
  box.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const before = pointers.size === 2 ? gap() : 0;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (pointers.size === 2) {
      closer(before / Math.max(gap(), 1));
      return;
    }
    view.azimuth -= (event.clientX - last.x) * 0.008;
    view.elevation = Math.min(1.3, Math.max(-0.25, view.elevation + (event.clientY - last.y) * 0.006));
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    box.addEventListener(kind, (event) => pointers.delete(event.pointerId));
  }
  box.addEventListener("wheel", (event) => {
    event.preventDefault();
    closer(Math.exp(event.deltaY * 0.001));
  }, { passive: false });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, video, dialog")) return;
    if (event.key === " " && !event.target.closest("button, a, summary")) {
      event.preventDefault();
      setPaused(!paused);
    } else if (event.key === "t") setTurning(!turning);
    else if (event.key >= "1" && event.key <= "9") play(Number(event.key) - 1);
  });

  fit();
  new ResizeObserver(fit).observe(box);
  renderer.setAnimationLoop(frame);
  new THREE.GLTFLoader().load(box.dataset.model, show, undefined, (error) => {
    fail(`The model cannot be shown: ${error.message || "it could not be read"}.`);
  });

  // For tests and the curious: where the bones are.
  globalThis.avatarPose = () => bones.flatMap((bone) => bone.matrixWorld.toArray());
})();
