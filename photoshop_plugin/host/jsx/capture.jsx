// Reads one rectangle of what is visible, and the soft selection if there is one, into one TIFF: the last extra channel
// is the selection. Answers with {selected}.
// Request: {document, width, height, bounds: [left, top, right, bottom], channel, file}.
// Everything happens in a merged copy, so the artist's document, its history and its undone states stay as they are.

// A merged copy whose alpha channel `channel` holds the selection, in front.
/** @param {Document} doc @param {string} channel @return {Document} */
function scumbleCopy(doc, channel) {
  var copy = doc.duplicate("Scumble", true), back;
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
    copy = doc.duplicate("Scumble", true);
  } finally {
    app.activeDocument = doc;
    doc.activeHistoryState = back;
  }
  app.activeDocument = copy;
  return copy;
}

// A merged copy, in front; nothing is selected.
/** @param {Document} doc @return {Document} */
function scumbleUnselectedCopy(doc) {
  return doc.duplicate("Scumble", true);
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

scumbleRun(function (request) {
  var doc = scumbleDocument(request), copy = null, b = request.bounds, selected = scumbleSelection(doc) !== null;
  if (request.selected && !selected) { scumbleRefuse("no_selection"); }
  try {
    copy = selected ? scumbleCopy(doc, request.channel) : scumbleUnselectedCopy(doc);
    scumbleRemoveOtherChannels(copy, request.channel);
    copy.crop([new UnitValue(b[0], "px"), new UnitValue(b[1], "px"), new UnitValue(b[2], "px"), new UnitValue(b[3], "px")]);
    if (scumblePixels(copy.width) !== b[2] - b[0] || scumblePixels(copy.height) !== b[3] - b[1]) {
      scumbleRefuse("crop_failed");
    }
    scumbleSaveTiff(copy, request.file);
  } finally {
    if (copy !== null) { copy.close(SaveOptions.DONOTSAVECHANGES); }
  }
  return { selected: selected };
});
