// What a document's quick mask selects: {selection: [left, top, right, bottom] or null}; of a document that is not in Quick
// Mask mode the selection itself. Leaves no trace. Request: {document, width, height}.

scumbleRun(function (request) {
  var doc = scumbleDocument(request);
  return scumbleUnmasked(doc, function () { return { selection: scumbleSelection(doc) }; });
});
