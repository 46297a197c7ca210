// Makes a new document of a picture, in front, or a pattern. Answers with {front: id or null}.
// Request: {file, name, width, height, alpha, srgb, pattern}. The file is a TIFF as apply.jsx takes it; `alpha`: its last
// channel is the transparency, else it is dropped. The document is a copy that no file belongs to, so that saving asks for
// a name.

// Edit > Define Pattern, of all of the front document.
/** @param {Document} doc @param {string} name */
function scumbleDefinePattern(doc, name) {
  var descriptor = new ActionDescriptor(), pattern = new ActionReference(), part = new ActionReference();
  doc.selection.selectAll();
  pattern.putClass(stringIDToTypeID("pattern"));
  descriptor.putReference(stringIDToTypeID("null"), pattern);
  part.putProperty(stringIDToTypeID("property"), stringIDToTypeID("selection"));
  part.putEnumerated(stringIDToTypeID("document"), stringIDToTypeID("ordinal"), stringIDToTypeID("targetEnum"));
  descriptor.putReference(stringIDToTypeID("using"), part);
  descriptor.putString(stringIDToTypeID("name"), name);
  executeAction(stringIDToTypeID("make"), descriptor, DialogModes.NO);
}

scumbleRun(function (request) {
  var source = app.open(scumbleFile(request.file), OpenDocumentType.TIFF), made, layer;
  try {
    if (scumblePixels(source.width) !== request.width || scumblePixels(source.height) !== request.height) {
      scumbleRefuse("patch_size");
    }
    if (request.srgb) { source.colorProfileName = "sRGB IEC61966-2.1"; }
    if (request.alpha) {
      layer = source.artLayers[0];
      if (layer.isBackgroundLayer) { layer.isBackgroundLayer = false; }
      source.selection.load(source.channels[source.channels.length - 1], SelectionType.REPLACE, true);
      if (scumbleSelection(source) !== null) {
        source.selection.clear();
        source.selection.deselect();
      }
    }
    source.channels[source.channels.length - 1].remove();
    if (request.pattern) {
      scumbleDefinePattern(source, request.name);
      return { front: null };
    }
    made = source.duplicate(request.name, false);
    return { front: made.id };
  } finally {
    app.activeDocument = source;
    source.close(SaveOptions.DONOTSAVECHANGES);
  }
});
