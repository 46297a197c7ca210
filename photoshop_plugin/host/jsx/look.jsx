// A mark of what a document shows: another text means that something was painted, undone or hidden; "" where Photoshop
// cannot tell. Changes nothing, and costs far less than reading the picture. null while the document is not in front, or
// in Quick Mask mode: it is left alone then. Request: {document}.

// The history alone does not tell: it is cut to a length, and strokes share a name.
/** @param {Document} doc */
function scumbleMark(doc) {
  try {
    return doc.historyStates.length + " " + doc.activeHistoryState.name + " " + doc.histogram.join(" ");
  } catch (error) {
    return "";
  }
}

scumbleRun(function (request) {
  var i;
  for (i = 0; i < app.documents.length; i++) {
    if (app.documents[i].id === request.document) {
      if (app.activeDocument.id !== request.document || app.activeDocument.quickMaskMode) { return { mark: null }; }
      return { mark: scumbleMark(app.activeDocument) };
    }
  }
  return scumbleRefuse("document_closed");
});
