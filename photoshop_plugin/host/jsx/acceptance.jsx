// What the acceptance script needs beside the plugin's own programs; it only touches documents that it opened itself.
// Request: {action, ...}; actions: "open" {file, select}, "facts" {document}, "undo" {document, title}, "mode" {document, mode},
// "copy" {document}, "mask" {document, on}, "artboard" {document, box},
// "close" {document}.

/** @param {any} parent @param {any[]} found */
function scumbleListLayers(parent, found) {
  var i, layer;
  for (i = 0; i < parent.layers.length; i++) {
    layer = parent.layers[i];
    found.push({ id: layer.id, name: layer.name, visible: layer.visible, kind: layer.typename, group: parent.name });
    if (layer.typename === "LayerSet") { scumbleListLayers(layer, found); }
  }
  return found;
}

function scumbleRecentFiles() {
  var names = [], i;
  try {
    for (i = 0; i < app.recentFiles.length; i++) { names.push(String(app.recentFiles[i])); }
    return names;
  } catch (error) {
    return null;
  }
}

/** @param {Document} doc */
function scumbleDocumentFacts(doc) {
  var history = [], i;
  for (i = 0; i < doc.historyStates.length; i++) { history.push(doc.historyStates[i].name); }
  return {
    version: app.version,
    name: doc.name,
    width: scumblePixels(doc.width),
    height: scumblePixels(doc.height),
    mode: String(doc.mode),
    saved: doc.saved,
    history: history,
    state: doc.activeHistoryState.name,
    active: doc.activeLayer.id,
    layers: scumbleListLayers(doc, []),
    channels: doc.channels.length,
    selection: scumbleSelection(doc),
    quickMask: doc.quickMaskMode,
    recent: scumbleRecentFiles()
  };
}

// A TIFF whose last channel is a selection to load.
function scumbleOpenTest(request) {
  var doc = app.open(scumbleFile(request.file), OpenDocumentType.TIFF), last;
  if (request.select) {
    last = doc.channels[doc.channels.length - 1];
    doc.selection.load(last, SelectionType.REPLACE, false);
    last.remove();
  }
  return doc.id;
}

// Whether a copy comes with the selection.
/** @param {Document} doc */
function scumbleCopyKeepsSelection(doc) {
  var copy = doc.duplicate("Scumble", true), kept = scumbleSelection(copy) !== null;
  copy.close(SaveOptions.DONOTSAVECHANGES);
  return kept;
}

// Layer > New > Artboard. box: [left, top, right, bottom].
/** @param {number[]} box */
function scumbleMakeArtboard(box) {
  var descriptor = new ActionDescriptor(), kind = new ActionReference(), using = new ActionDescriptor();
  var rectangle = new ActionDescriptor();
  kind.putClass(stringIDToTypeID("artboardSection"));
  descriptor.putReference(stringIDToTypeID("null"), kind);
  rectangle.putDouble(stringIDToTypeID("left"), box[0]);
  rectangle.putDouble(stringIDToTypeID("top"), box[1]);
  rectangle.putDouble(stringIDToTypeID("right"), box[2]);
  rectangle.putDouble(stringIDToTypeID("bottom"), box[3]);
  using.putObject(stringIDToTypeID("artboardRect"), stringIDToTypeID("classFloatRect"), rectangle);
  descriptor.putObject(stringIDToTypeID("using"), stringIDToTypeID("artboardSection"), using);
  executeAction(stringIDToTypeID("make"), descriptor, DialogModes.NO);
}

scumbleRun(function (request) {
  var doc, i;
  if (request.action === "open") {
    doc = { front: scumbleOpenTest(request) };
    return doc;
  }
  doc = scumbleActivate(request.document);
  if (doc === null) { scumbleRefuse("document_closed"); }
  if (request.action === "copy") { return { kept: scumbleCopyKeepsSelection(doc) }; }
  if (request.action === "close") {
    doc.close(SaveOptions.DONOTSAVECHANGES);
    return {};
  }
  if (request.action === "artboard") { scumbleMakeArtboard(request.box); }
  if (request.action === "mask") { doc.quickMaskMode = request.on; }
  if (request.action === "mode") {
    doc.changeMode(request.mode === "CMYK" ? ChangeMode.CMYK : request.mode === "LAB" ? ChangeMode.LAB : ChangeMode.GRAYSCALE);
  }
  if (request.action === "undo") {
    for (i = 1; i < doc.historyStates.length; i++) {
      if (doc.historyStates[i].name === request.title) { doc.activeHistoryState = doc.historyStates[i - 1]; }
    }
  }
  return scumbleDocumentFacts(doc);
});
