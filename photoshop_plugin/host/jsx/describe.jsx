// Facts about the front document, or, if `all`, about every open one, the front one first. Changes nothing.
// Request: {all}.

/** @param {Document} doc */
function scumbleFacts(doc) {
  var layer = doc.activeLayer;
  return {
    id: doc.id,
    name: doc.name,
    width: scumblePixels(doc.width),
    height: scumblePixels(doc.height),
    resolution: doc.resolution,
    mode: String(doc.mode),
    bits: String(doc.bitsPerChannel),
    profile: scumbleProfileName(doc),
    layer: layer.id,
    layerName: layer.name,
    quickMask: doc.quickMaskMode,
    selection: doc.quickMaskMode ? null : scumbleSelection(doc)
  };
}

scumbleRun(function (request) {
  var found, ids = [], i;
  if (app.documents.length === 0) { scumbleRefuse("no_document"); }
  found = [scumbleFacts(app.activeDocument)];
  if (!request.all) { return found; }
  for (i = 0; i < app.documents.length; i++) { ids.push(app.documents[i].id); }
  for (i = 0; i < ids.length; i++) {
    if (ids[i] !== found[0].id) { found.push(scumbleFacts(scumbleActivate(ids[i]))); }
  }
  return found;
});
