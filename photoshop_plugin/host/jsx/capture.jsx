// Reads one rectangle and the soft selection, if there is one, into one TIFF: the last extra channel is the selection.
// Answers with {selected}.
// Request: {document, width, height, source, layer, bounds: [left, top, right, bottom], srgb, channel, file}.
// source: "merged" what is visible, "layer" the layer of that id alone, "below" that layer and those below it.
// `srgb`: converted to sRGB on the way, in the copy alone. Everything happens in copies, so the artist's document, its
// history and its undone states stay as they are. A quick mask counts as the selection.

// A copy in front, merged or with all its layers, with nothing selected. If `selected`, its alpha channel `channel` holds
// the selection.
/** @param {Document} doc @param {string} channel @param {boolean} selected @param {boolean} merged @return {Document} */
function scumbleCopy(doc, channel, selected, merged) {
  var copy = doc.duplicate("Scumble", merged), back;
  if (!selected) { return copy; }
  if (scumbleSelection(copy) !== null) {
    scumbleSaveSelection(channel);
    copy.selection.deselect();
    return copy;
  }
  // The copy came without the selection: let an alpha channel carry it over, then take the channel's history state back.
  copy.close(SaveOptions.DONOTSAVECHANGES);
  copy = null;
  app.activeDocument = doc;
  back = doc.activeHistoryState;
  try {
    scumbleSaveSelection(channel);
    copy = doc.duplicate("Scumble", merged);
  } finally {
    app.activeDocument = doc;
    doc.activeHistoryState = back;
  }
  app.activeDocument = copy;
  return copy;
}

// The wanted layers of the document, merged, in front.
/** @param {Document} doc @return {Document} */
function scumbleWanted(doc, request, selected) {
  var path, copy;
  if (request.source === "merged") { return scumbleCopy(doc, request.channel, selected, true); }
  path = scumbleLayerPath(doc, request.layer);
  if (path === null) { scumbleRefuse("layer_gone"); }
  copy = scumbleCopy(doc, request.channel, selected, false);
  try {
    scumbleIsolate(copy, path, request.source === "below");
    return copy.duplicate("Scumble", true);
  } finally {
    app.activeDocument = copy;
    copy.close(SaveOptions.DONOTSAVECHANGES);
  }
}

// Hides all layers but the one at the end of the path, and unless `below` those under it too.
/** @param {any} parent @param {number[]} path @param {boolean} below */
function scumbleIsolate(parent, path, below) {
  var i, layer;
  for (i = 0; i < parent.layers.length; i++) {
    layer = parent.layers[i];
    if (i === path[0]) {
      layer.visible = true;
      // On its own a clipped layer would show nothing.
      if (!below && layer.typename === "ArtLayer" && layer.grouped) { layer.grouped = false; }
      if (path.length > 1) { scumbleIsolate(layer, path.slice(1), below); }
    } else if (!below || i < path[0]) {
      layer.visible = false;
    }
  }
}

/** @param {Document} doc @param {string} keep */
function scumbleRemoveOtherChannels(doc, keep) {
  var i, channel;
  for (i = doc.channels.length - 1; i >= 0; i--) {
    channel = doc.channels[i];
    if (channel.kind != ChannelType.COMPONENT && channel.name !== keep) { channel.remove(); }
  }
}

/** @param {Document} doc @param {string} path */
function scumbleSaveTiff(doc, path) {
  var options = new TiffSaveOptions();
  options.alphaChannels = true;
  options.annotations = false;
  options.byteOrder = ByteOrder.IBM;
  options.embedColorProfile = true;
  options.imageCompression = TIFFEncoding.NONE;
  options.interleaveChannels = true;
  options.layers = false;
  options.spotColors = false;
  options.transparency = true;
  doc.saveAs(scumbleFile(path), options, true, Extension.LOWERCASE);
}

// The wanted layers again, with all of the canvas selected for as long as it takes: for a mark to measure by.
/** @param {Document} doc @return {Document} */
function scumbleMarked(doc, request) {
  var back = doc.activeHistoryState;
  doc.selection.selectAll();
  try {
    return scumbleWanted(doc, request, true);
  } finally {
    app.activeDocument = doc;
    doc.activeHistoryState = back;
  }
}

// Where the document's corner is in a copy of another size, measured by where the selection that came along is now.
// box: where it is in the document.
/** @param {Document} copy @param {string} channel @param {number[]} box @return {number[]} */
function scumbleOffset(copy, channel, box) {
  var found = null;
  try {
    copy.selection.load(copy.channels.getByName(channel), SelectionType.REPLACE, false);
    found = scumbleSelection(copy);
    copy.selection.deselect();
  } catch (error) {
    found = null;
  }
  if (found === null || found[2] - found[0] !== box[2] - box[0] || found[3] - found[1] !== box[3] - box[1]) {
    scumbleRefuse("artboards");
  }
  return [found[0] - box[0], found[1] - box[1]];
}

/** @param {Document} doc */
function scumbleCapture(doc, request) {
  var copy = null, b = request.bounds, box = scumbleSelection(doc), selected = box !== null, by;
  if (request.selected && !selected) { scumbleRefuse("no_selection"); }
  try {
    copy = scumbleWanted(doc, request, selected);
    app.activeDocument = copy;
    // With artboards a merged copy may be as large as all of them together, and start elsewhere.
    if (scumblePixels(copy.width) !== request.width || scumblePixels(copy.height) !== request.height) {
      if (!selected) {
        copy.close(SaveOptions.DONOTSAVECHANGES);
        copy = null;
        app.activeDocument = doc;
        box = [0, 0, request.width, request.height];
        copy = scumbleMarked(doc, request);
        app.activeDocument = copy;
      }
      box = [Math.max(box[0], 0), Math.max(box[1], 0), Math.min(box[2], request.width), Math.min(box[3], request.height)];
      by = scumbleOffset(copy, request.channel, box);
      b = [b[0] + by[0], b[1] + by[1], b[2] + by[0], b[3] + by[1]];
    }
    scumbleRemoveOtherChannels(copy, selected ? request.channel : "");
    copy.crop([new UnitValue(b[0], "px"), new UnitValue(b[1], "px"), new UnitValue(b[2], "px"), new UnitValue(b[3], "px")]);
    if (scumblePixels(copy.width) !== b[2] - b[0] || scumblePixels(copy.height) !== b[3] - b[1]) {
      scumbleRefuse("crop_failed");
    }
    if (request.srgb) {
      copy.convertProfile("sRGB IEC61966-2.1", Intent.RELATIVECOLORIMETRIC, true, false);
      if (copy.mode != DocumentMode.RGB) { scumbleRefuse("not_converted"); }
    }
    scumbleSaveTiff(copy, request.file);
  } finally {
    if (copy !== null) { copy.close(SaveOptions.DONOTSAVECHANGES); }
  }
  return { selected: selected };
}

scumbleRun(function (request) {
  var doc = scumbleDocument(request);
  return scumbleUnmasked(doc, function () { return scumbleCapture(doc, request); });
});
