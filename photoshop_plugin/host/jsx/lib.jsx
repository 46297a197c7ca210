// What the programs share. ES3 only: this text runs in Photoshop's ExtendScript engine, which has no JSON object.
// Each program is sent as: this file, `var scumbleRequest = <JSON literal>;`, the program. Requests are data; no text
// of the artist's is ever evaluated. The types in comments are checked against Adobe's object model.

// A value as ASCII JSON text: null, boolean, number, string, array, plain object.
/** @return {string} */
function scumbleJson(value) {
  var parts = [], text = "", code, i, key;
  if (value === null || value === undefined) { return "null"; }
  if (typeof value === "number" || typeof value === "boolean") { return String(value); }
  if (typeof value === "string") {
    for (i = 0; i < value.length; i++) {
      code = value.charCodeAt(i);
      if (code < 32 || code > 126 || code === 34 || code === 92) {
        text += "\\u" + ("0000" + code.toString(16)).slice(-4);
      } else {
        text += value.charAt(i);
      }
    }
    return "\"" + text + "\"";
  }
  if (value instanceof Array) {
    for (i = 0; i < value.length; i++) { parts.push(scumbleJson(value[i])); }
    return "[" + parts.join(",") + "]";
  }
  for (key in value) {
    if (value.hasOwnProperty(key)) { parts.push(scumbleJson(key) + ":" + scumbleJson(value[key])); }
  }
  return "{" + parts.join(",") + "}";
}

// Stops the program with a code that the Python side has a sentence for.
function scumbleRefuse(code) {
  var error = new Error(code);
  error.scumbleCode = code;
  throw error;
}

// Runs a program in pixels and without dialogs, and puts ruler units, dialogs and the front document back.
// A value's `front` is the id of a document that is to be in front instead. Always answers with JSON: {ok: true, value} or {ok: false, code, message, line}.
function scumbleRun(program) {
  var units = app.preferences.rulerUnits, dialogs = app.displayDialogs, front, answer;
  front = app.documents.length > 0 ? app.activeDocument.id : null;
  try {
    app.preferences.rulerUnits = Units.PIXELS;
    app.displayDialogs = DialogModes.NO;
    answer = { ok: true, value: program(scumbleRequest) };
    if (answer.value.front) { front = answer.value.front; }
  } catch (error) {
    answer = {
      ok: false,
      code: error.scumbleCode || "script",
      message: String(error.message || error),
      line: error.line || 0
    };
  } finally {
    if (front !== null) { scumbleActivate(front); }
    app.preferences.rulerUnits = units;
    app.displayDialogs = dialogs;
  }
  return scumbleJson(answer);
}

// Brings a document to the front by its id; null if it is not open (any more).
/** @param {number} id @return {Document} */
function scumbleActivate(id) {
  var i;
  for (i = 0; i < app.documents.length; i++) {
    if (app.documents[i].id === id) {
      if (app.activeDocument.id !== id) { app.activeDocument = app.documents[i]; }
      return app.activeDocument;
    }
  }
  return null;
}

// The document a request is about, in front, provided that it is still the one that was described.
/** @return {Document} */
function scumbleDocument(request) {
  var doc = scumbleActivate(request.document);
  if (doc === null) { scumbleRefuse("document_closed"); }
  if (scumblePixels(doc.width) !== request.width || scumblePixels(doc.height) !== request.height) {
    scumbleRefuse("document_resized");
  }
  return doc;
}

// Does `work` with a quick mask turned into the selection, and makes it the quick mask again. Nothing special happens to a
// document that is not in Quick Mask mode. For programs that leave no trace.
/** @param {Document} doc */
function scumbleUnmasked(doc, work) {
  var back;
  if (!doc.quickMaskMode) { return work(); }
  back = doc.activeHistoryState;
  doc.quickMaskMode = false;
  try {
    return work();
  } finally {
    app.activeDocument = doc;
    // The mask first: whether going back in history brings the mode back is not documented.
    doc.quickMaskMode = true;
    doc.activeHistoryState = back;
    if (!doc.quickMaskMode) { doc.quickMaskMode = true; }
  }
}

/** @param {any} unitValue @return {number} */
function scumblePixels(unitValue) {
  return Math.round(unitValue.as("px"));
}

// [left, top, right, bottom] in px from Photoshop's four unit values.
function scumbleRectangle(bounds) {
  return [scumblePixels(bounds[0]), scumblePixels(bounds[1]), scumblePixels(bounds[2]), scumblePixels(bounds[3])];
}

// Reading the name throws where there is no profile.
/** @param {Document} doc */
function scumbleProfileName(doc) {
  try {
    return doc.colorProfileName;
  } catch (error) {
    return "";
  }
}

// The selection's bounding box, or null: Photoshop throws where nothing is selected.
/** @param {Document} doc */
function scumbleSelection(doc) {
  try {
    return scumbleRectangle(doc.selection.bounds);
  } catch (error) {
    return null;
  }
}

// Where a layer stands: the indices that lead from the document through its groups to it; null if it is not there.
/** @param {any} parent @param {number} id @return {number[]} */
function scumbleLayerPath(parent, id) {
  var i, inside;
  for (i = 0; i < parent.layers.length; i++) {
    if (parent.layers[i].id === id) { return [i]; }
    if (parent.layers[i].typename === "LayerSet") {
      inside = scumbleLayerPath(parent.layers[i], id);
      if (inside !== null) { return [i].concat(inside); }
    }
  }
  return null;
}

// The layer or group at the end of a path.
/** @param {any} parent @param {number[]} path */
function scumbleLayerAt(parent, path) {
  var i, layer = parent;
  for (i = 0; i < path.length; i++) { layer = layer.layers[path[i]]; }
  return layer;
}

// A path as File wants it: File decodes %xx, so a literal per cent sign has to be encoded.
/** @param {string} path */
function scumbleFile(path) {
  return new File(path.replace(/%/g, "%25"));
}

// Select > Save Selection into a new alpha channel of the front document. Unlike channels.add() it leaves the
// composite active.
/** @param {string} name */
function scumbleSaveSelection(name) {
  var descriptor = new ActionDescriptor(), reference = new ActionReference();
  reference.putProperty(stringIDToTypeID("channel"), stringIDToTypeID("selection"));
  descriptor.putReference(stringIDToTypeID("null"), reference);
  descriptor.putString(stringIDToTypeID("name"), name);
  executeAction(stringIDToTypeID("duplicate"), descriptor, DialogModes.NO);
}
