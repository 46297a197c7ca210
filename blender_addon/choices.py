"""What the panel's menus offer: (value, name, tooltip[, icon], number), as Blender's enumerations want them."""

SEAMLESS_ITEMS = (
    ("xy", "Both", "Tiles in both directions", 1),
    ("x", "X", "Left meets right", 2),
    ("y", "Y", "Top meets bottom", 3),
    ("none", "None", "Does not tile", 4),
)

PLACE_ITEMS = (
    (
        "MATERIAL",
        "Material",
        "Show the texture on the active object: in a new material if it has none, in Scumble's own texture node if "
        "there is one, else at a free Base Color. Nothing that is connected is touched",
        "MATERIAL",
        1,
    ),
    (
        "NEW_SLOT",
        "New Material",
        "Make a new material in a new slot of the active object; its faces keep their materials",
        "ADD",
        2,
    ),
    (
        "ACTIVE",
        "Active Image",
        "Take the place of the active image everywhere it is used; it stays in the file",
        "IMAGE_REFERENCE",
        4,
    ),
    ("PAINT", "Paint Canvas", "Make an image that Texture Paint paints on", "TPAINT_HLT", 5),
    (
        "CLONE",
        "Clone Source",
        "Make an image that the Clone brush takes its colours from",
        "STICKY_UVS_LOC",
        6,
    ),
    ("IMAGE", "Image Only", "Make an image and touch nothing else", "IMAGE_DATA", 3),
)


MAP_ITEMS = (
    ("normal", "Normal", "Bumps as directions, for light", 1),
    ("roughness", "Roughness", "How dull the surface is", 2),
    ("height", "Height", "Bumps as heights", 4),
    ("ambient_occlusion", "Occlusion", "Shade in the grooves; made as an image, not connected", 8),
)

HEIGHT_ITEMS = (
    ("BUMP", "Bump", "Height bends the light through a Bump node"),
    ("DISPLACEMENT", "Displacement", "Height moves the surface: needs a dense mesh"),
    ("IMAGE", "Image Only", "Make the height image and connect nothing"),
)

MASK_ITEMS = (
    ("FACES", "Selected Faces", "The faces selected in Edit Mode", "FACESEL", 1),
    ("UV", "Selected UVs", "The faces whose UVs are selected in the UV Editor", "UV_FACESEL", 2),
    (
        "LAYER",
        "Painted Mask",
        "Where you painted with Paint Mask; the texture stays as it is",
        "BRUSH_DATA",
        3,
    ),
    (
        "STENCIL",
        "Paint Stencil",
        "Where the stencil of Texture Paint lets the brush paint",
        "MOD_MASK",
        4,
    ),
    (
        "ALPHA",
        "Erased",
        "Where the image is transparent; it becomes opaque there",
        "IMAGE_ALPHA",
        5,
    ),
    ("WHOLE", "Whole Image", "Repaint all of it, as far as Strength allows", "IMAGE_DATA", 6),
)

TARGET_ITEMS = (
    ("NEW", "New Image", "A new image takes the old one's place everywhere; the old one stays in the file. "
     "Undo brings it back"),
    ("SAME", "Same Image", "Write into the image itself. Blender cannot undo pixels: Revert in the panel can"),
)  # fmt: skip

VIEW_ITEMS = (
    ("CAMERA", "Camera", "The scene's camera"),
    ("CAMERAS", "Selected Cameras", "Each camera that is selected, the active one first; each paints what the earlier "
     "ones did not see"),
    ("VIEWPORT", "Viewport", "The 3D viewport as you look at it"),
)  # fmt: skip

RESTYLE_ITEMS = (
    ("RENDER", "Last Render", "The last render as it is displayed; its shape is that of the scene as it is now"),
    ("VIEWPORT", "Viewport", "What the 3D viewport shows, without overlays"),
)  # fmt: skip

FRAMES_ITEMS = (
    ("RENDER", "Render Each", "Blender renders each frame, then it is restyled"),
    ("FILES", "Rendered Files", "The frames that Render Animation wrote to the scene's Output"),
)  # fmt: skip

SEED_ITEMS = (
    ("FIXED", "Same Seed", "One seed for all frames: calmer"),
    ("FRAME", "Seed per Frame", "The seed plus the frame's number: livelier"),
)  # fmt: skip

LIVE_SHOW_ITEMS = (
    ("BESIDE", "Beside", "In another Image Editor; the one you paint in is split where there is none"),
    ("OBJECT", "On the Object", "Materials show the picture in the painting's place for as long as it runs"),
)  # fmt: skip

CONTROL_ITEMS = (
    ("AUTO", "Auto", "Depth and normals, as far as the server has ControlNets for the model"),
    ("BOTH", "Depth and Normals", "Refused where a ControlNet is missing"),
    ("DEPTH", "Depth", "Refused where the ControlNet is missing"),
    ("NORMAL", "Normals", "Refused where the ControlNet is missing"),
    ("NONE", "None", "From the look of it alone"),
)

REPAINT_SEAMLESS_ITEMS = (
    ("auto", "Auto", "As the image was made: textures by Scumble stay seamless", 0),
    *SEAMLESS_ITEMS,
)

STRUCTURE_ITEMS = (
    ("auto", "Auto", "What the model does by itself"),
    ("layout", "Layout", "Start from a drawn layout; models that have a generator only"),
    ("noise", "Noise", "Start from noise alone"),
)

FEW_STEP_ITEMS = (
    ("auto", "Auto", "What the model does by itself"),
    ("on", "On", "Paint with the model's few-step weights; refused where it has none"),
    ("off", "Off", "Paint with the full weights"),
)

PRECISION_ITEMS = (
    ("loaded", "As Loaded", "The precision of the model's files"),
    (
        "fp8",
        "8-bit Float",
        "Faster with large models; refused where the server's GPU has no such numbers",
    ),
    (
        "int8",
        "8-bit Integer",
        "For GPUs without 8-bit floats; refused where the server's GPU cannot",
    ),
)

FACTOR_ITEMS = (
    ("2", "2x", "Twice as wide and high"),
    ("4", "4x", "Four times as wide and high"),
)
