// Facts about the front document. Changes nothing. Request: {}.

scumbleRun(function () {
  var doc;
  if (app.documents.length === 0) { scumbleRefuse("no_document"); }
  doc = app.activeDocument;
  return {
    id: doc.id,
    name: doc.name,
    width: scumblePixels(doc.width),
    height: scumblePixels(doc.height),
    resolution: doc.resolution,
    mode: String(doc.mode),
    bits: String(doc.bitsPerChannel),
    profile: scumbleProfileName(doc),
    quickMask: doc.quickMaskMode,
    selection: doc.quickMaskMode ? null : scumbleSelection(doc)
  };
});
