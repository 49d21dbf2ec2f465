"""Runs inside Blender: reads a GLB and writes it as FBX.

  blender --background --factory-startup --python blender_fbx.py -- avatar.glb avatar.fbx 30
"""

import sys

import bpy


def convert(source: str, target: str, fps: int) -> None:
    """Read the GLB `source` and write the FBX `target`, with every clip at `fps` frames a second."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.fps = fps
    bpy.ops.import_scene.gltf(filepath=source)
    for mesh in [item for item in bpy.data.objects if item.type == "MESH" and not item.find_armature()]:
        bpy.data.objects.remove(mesh)  # the importer's own pictures of bones
    actions = bpy.data.actions
    if len(actions):
        scene.frame_start = 0
        scene.frame_end = round(max(action.frame_range[1] for action in actions))
    bpy.ops.export_scene.fbx(
        filepath=target,
        object_types={"ARMATURE", "MESH"},
        add_leaf_bones=False,
        use_tspace=True,
        bake_anim=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=True,
        bake_anim_simplify_factor=0.0,
        path_mode="COPY",
        embed_textures=True,
    )


if __name__ == "__main__":
    first = sys.argv.index("--") + 1
    convert(sys.argv[first], sys.argv[first + 1], int(sys.argv[first + 2]))
