// Lays patches back as layers with layer masks, in one history step.
// Request: {document, width, height, x, y, title, channel, above, shown, group, grow: [left, top, right, bottom] or null,
// patches: [{file, name, width, height, masked, srgb}]}.
// A patch file is a TIFF whose last channel is the composite mask; without `masked` it is full and the layer gets no mask.
// `srgb`: its numbers are sRGB (linear in a 32-bit file), whatever the document's profile and mode are. It becomes a masked
// layer in a document of its own and is duplicated from there: unlike Place this never resamples, whatever the resolution,
// and gives pixels that can be painted on. The first patch ends on top and is the only one shown. `above`: id of the layer
// to stand above, null for the top. `group`: "" or the name of a group for the layers. `grow`: px added to the canvas
// first; x and y count in the larger one. A quick mask stays one. `shown`: [left, top, right, bottom] of what the masks let
// show; where that lies within one artboard, the top is that artboard's.

/** @type {{doc: Document, profile: string, mode: DocumentMode, sources: Document[], request: any, placed: any[], error: any}} */
var scumbleState = {
  doc: null, profile: "", mode: DocumentMode.RGB, sources: [], request: null, placed: [], error: null
};

// Opens a patch and gives its layer the mask. Leaves it in front. The type keeps Camera Raw, which may be set to take all
// TIFFs, out of it.
function scumbleOpenPatch(patch) {
  var source = app.open(scumbleFile(patch.file), OpenDocumentType.TIFF), layer;
  scumbleState.sources.push(source);
  if (patch.srgb) { scumbleConvert(source); }
  if (scumblePixels(source.width) !== patch.width || scumblePixels(source.height) !== patch.height) {
    scumbleRefuse("patch_size");
  }
  layer = source.artLayers[0];
  if (layer.isBackgroundLayer) { layer.isBackgroundLayer = false; }
  layer.name = patch.name;
  if (patch.masked) { scumbleMask(source, layer); }
}

// From sRGB to the document's profile and mode; nothing to do where it has these.
/** @param {Document} source */
function scumbleConvert(source) {
  var srgb = "sRGB IEC61966-2.1", profile = scumbleState.profile, mode = scumbleState.mode;
  // 32-bit documents say "sRGB IEC61966-2.1 (Linear RGB Profile)".
  if (mode == DocumentMode.RGB && (profile === "" || profile.indexOf(srgb) === 0)) { return; }
  source.colorProfileName = srgb;
  if (profile !== "") { source.convertProfile(profile, Intent.RELATIVECOLORIMETRIC, true, false); }
  if (source.mode != mode) { source.changeMode(scumbleChangeMode(mode)); }
}

/** @param {DocumentMode} mode */
function scumbleChangeMode(mode) {
  if (mode == DocumentMode.CMYK) { return ChangeMode.CMYK; }
  if (mode == DocumentMode.LAB) { return ChangeMode.LAB; }
  return ChangeMode.GRAYSCALE;
}

// The last channel becomes the layer's mask.
/** @param {Document} source @param {ArtLayer} layer */
function scumbleMask(source, layer) {
  var descriptor = new ActionDescriptor(), reference = new ActionReference();
  source.activeLayer = layer;
  source.selection.load(source.channels[source.channels.length - 1], SelectionType.REPLACE, false);
  descriptor.putClass(stringIDToTypeID("new"), stringIDToTypeID("channel"));
  reference.putEnumerated(stringIDToTypeID("channel"), stringIDToTypeID("channel"), stringIDToTypeID("mask"));
  descriptor.putReference(stringIDToTypeID("at"), reference);
  descriptor.putEnumerated(
    stringIDToTypeID("using"), stringIDToTypeID("userMaskEnabled"), stringIDToTypeID("revealSelection")
  );
  executeAction(stringIDToTypeID("make"), descriptor, DialogModes.NO);
}

// Duplicates a patch's layer into the document, above `anchor` or, where that is an empty group, into it, and moves it to
// the rectangle. Where a duplicate lands, and whether bounds count the mask, differs between versions, so both are
// measured against the layer it came from.
/** @param {Document} source @param {any} anchor @param {number} x @param {number} y */
function scumblePlace(source, anchor, x, y) {
  var before, after, layer;
  app.activeDocument = source;
  before = scumbleRectangle(source.artLayers[0].bounds);
  layer = source.artLayers[0].duplicate(scumbleState.doc, ElementPlacement.PLACEATBEGINNING);
  app.activeDocument = scumbleState.doc;
  if (anchor !== null) { scumbleMove(layer, anchor); }
  after = scumbleRectangle(layer.bounds);
  layer.translate(new UnitValue(x + before[0] - after[0], "px"), new UnitValue(y + before[1] - after[1], "px"));
  after = scumbleRectangle(layer.bounds);
  if (after[0] !== x + before[0] || after[1] !== y + before[1] ||
      after[2] !== x + before[2] || after[3] !== y + before[3]) {
    scumbleRefuse("misplaced");
  }
  scumbleState.placed.push({ id: layer.id, bounds: after });
  return layer;
}

// Above a layer, or into an empty group.
/** @param {any} layer @param {any} anchor */
function scumbleMove(layer, anchor) {
  var into = anchor.typename === "LayerSet" && anchor.layers.length === 0 && anchor.id === scumbleState.request.groupId;
  layer.move(anchor, into ? ElementPlacement.INSIDE : ElementPlacement.PLACEBEFORE);
}

// An artboard's rectangle, counted from the canvas's corner; null for a group that is none.
/** @param {number} id @return {number[]} */
function scumbleArtboardRectangle(id) {
  var reference = new ActionReference(), found, r;
  try {
    reference.putIdentifier(stringIDToTypeID("layer"), id);
    found = executeActionGet(reference);
    if (!found.hasKey(stringIDToTypeID("artboard"))) { return null; }
    r = found.getObjectValue(stringIDToTypeID("artboard")).getObjectValue(stringIDToTypeID("artboardRect"));
    return [
      r.getDouble(stringIDToTypeID("left")), r.getDouble(stringIDToTypeID("top")),
      r.getDouble(stringIDToTypeID("right")), r.getDouble(stringIDToTypeID("bottom"))
    ];
  } catch (error) {
    return null;
  }
}

// The artboard that a rectangle lies within, null if it is none or several.
/** @param {Document} doc @param {number[]} box @return {any} */
function scumbleArtboard(doc, box) {
  var i, r;
  for (i = 0; i < doc.layers.length; i++) {
    r = doc.layers[i].typename === "LayerSet" ? scumbleArtboardRectangle(doc.layers[i].id) : null;
    if (r !== null && r[0] <= box[0] && r[1] <= box[1] && r[2] >= box[2] && r[3] >= box[3]) { return doc.layers[i]; }
  }
  return null;
}

// What the layers are to stand above, null for the top: the layer `above`, or their new group, which stands there itself.
function scumbleAnchor() {
  var doc = scumbleState.doc, request = scumbleState.request, anchor = null, path = null, group, board;
  if (request.above !== null) { path = scumbleLayerPath(doc, request.above); }
  if (path !== null) { anchor = scumbleLayerAt(doc, path); }
  if (anchor === null) {
    board = scumbleArtboard(doc, request.shown);
    if (board !== null && board.layers.length > 0) {
      anchor = board.layers[0];
    } else if (board !== null && request.group === "") { // a group cannot be moved into an empty one
      anchor = board;
      request.groupId = board.id;
    }
  }
  if (request.group === "") { return anchor; }
  group = doc.layerSets.add();
  group.name = request.group;
  request.groupId = group.id;
  if (anchor !== null) {
    group.move(anchor, ElementPlacement.PLACEBEFORE);
  } else if (doc.layers[0].id !== group.id) {
    group.move(doc.layers[0], ElementPlacement.PLACEBEFORE);
  }
  return group;
}

// Canvas px on each side; two steps, since an anchor names a corner.
/** @param {Document} doc @param {number[]} grow */
function scumbleGrow(doc, grow) {
  var width = scumblePixels(doc.width) + grow[0], height = scumblePixels(doc.height) + grow[1];
  doc.resizeCanvas(new UnitValue(width, "px"), new UnitValue(height, "px"), AnchorPosition.BOTTOMRIGHT);
  doc.resizeCanvas(
    new UnitValue(width + grow[2], "px"), new UnitValue(height + grow[3], "px"), AnchorPosition.TOPLEFT
  );
}

function scumblePasteAll() {
  var doc = scumbleState.doc, request = scumbleState.request, i, layer, anchor;
  var active = doc.activeLayer, visible = active.visible, masking = doc.quickMaskMode, selected, kept;
  // In Quick Mask mode commands work on the mask; left, it is the selection.
  if (masking) { doc.quickMaskMode = false; }
  selected = scumbleSelection(doc) !== null;
  // With a selection, moving a layer would move only the selected pixels.
  if (selected) {
    scumbleSaveSelection(request.channel);
    doc.selection.deselect();
  }
  if (request.grow !== null) { scumbleGrow(doc, request.grow); }
  anchor = scumbleAnchor();
  for (i = scumbleState.sources.length - 1; i >= 0; i--) {
    layer = scumblePlace(scumbleState.sources[i], anchor, request.x, request.y);
    layer.visible = i === 0;
    anchor = layer;
  }
  if (selected) {
    kept = doc.channels.getByName(request.channel);
    doc.selection.load(kept, SelectionType.REPLACE, false);
    kept.remove();
  }
  doc.activeLayer = active;
  // Making a hidden layer active shows it.
  if (active.visible !== visible) { active.visible = visible; }
  if (masking) { doc.quickMaskMode = true; }
}

// What suspendHistory evaluates. It keeps its error to itself: Photoshop replaces errors that cross suspendHistory.
function scumbleSuspended() {
  try {
    scumblePasteAll();
  } catch (error) {
    scumbleState.error = error;
  }
}

scumbleRun(function (request) {
  var doc = scumbleDocument(request), masking = doc.quickMaskMode, i, back;
  scumbleState = {
    doc: doc, profile: scumbleProfileName(doc), mode: doc.mode, sources: [], request: request, placed: [], error: null
  };
  try {
    for (i = 0; i < request.patches.length; i++) { scumbleOpenPatch(request.patches[i]); }
    app.activeDocument = doc;
    back = doc.activeHistoryState;
    doc.suspendHistory(request.title, "scumbleSuspended()");
    if (scumbleState.error !== null) {
      app.activeDocument = doc;
      doc.activeHistoryState = back;
      if (masking && !doc.quickMaskMode) { doc.quickMaskMode = true; }
      throw scumbleState.error;
    }
  } finally {
    for (i = 0; i < scumbleState.sources.length; i++) {
      scumbleState.sources[i].close(SaveOptions.DONOTSAVECHANGES);
    }
  }
  return scumbleState.placed.reverse();
});
