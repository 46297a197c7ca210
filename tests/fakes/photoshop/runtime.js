// ExtendScript's globals on top of QuickJS. Documents, layers and so on are proxies onto the Python model; what the model
// does not have throws. QuickJS knows more than ES3: the dialect is checked with acorn elsewhere.
"use strict";

const decodeAnswer = (text) => {
  const answer = JSON.parse(text);
  if (answer.fault) throw new Error(answer.fault);
  return decode(answer.value);
};

const proxies = new Map();

const decode = (value) => {
  if (value === null || typeof value !== "object") return value;
  if (value.list) return value.list.map(decode);
  if (value.unit) return new UnitValue(value.value, value.unit);
  if (value.enum) return value.enum.split(".").reduce((scope, name) => scope[name], globalThis);
  if (!proxies.has(value.thing)) proxies.set(value.thing, proxyFor(value.thing, value.collection));
  return proxies.get(value.thing);
};

const encode = (value) => {
  if (value === undefined || value === null) return null;
  if (value instanceof UnitValue) return { value: value.value, unit: value.type };
  if (value instanceof File) return value.path;
  if (value instanceof TiffSaveOptions) {
    const options = { kind: "TiffSaveOptions" };
    for (const name of Object.keys(value)) options[name] = encode(value[name]);
    return { options };
  }
  if (value.enumName) return { enum: value.enumName };
  if (value.thingId) return { thing: value.thingId };
  if (Array.isArray(value)) return { list: value.map(encode) };
  if (typeof value === "object") throw new Error("the model takes no plain objects");
  return value;
};

const proxyFor = (id, collection) =>
  new Proxy(function () {}, {
    get(target, name) {
      if (typeof name === "symbol") return undefined;
      if (name === "thingId") return id;
      if (name === "enumName") return undefined;
      if (name === "toString") return () => "[object]";
      if (collection && /^\d+$/.test(name)) return decodeAnswer(host("at", id, name, "[]"));
      if (JSON.parse(host("isMethod", id, name, "[]")).value) {
        return (...values) => decodeAnswer(host("call", id, name, JSON.stringify(values.map(encode))));
      }
      return decodeAnswer(host("get", id, name, "[]"));
    },
    set(target, name, value) {
      decodeAnswer(host("put", id, name, JSON.stringify([encode(value)])));
      return true;
    },
  });

// JavaScript Tools Guide: as() converts inches and centimetres at 72 to the inch, whatever the document's resolution.
function UnitValue(value, type) {
  if (!(this instanceof UnitValue)) return new UnitValue(value, type);
  this.value = value;
  this.type = type;
}
UnitValue.prototype.as = function (unit) {
  if (unit !== "px") throw new Error("the model only converts to px");
  return this.value * { px: 1, in: 72, cm: 72 / 2.54 }[this.type];
};
UnitValue.prototype.valueOf = function () {
  return this.value;
};

function File(path) {
  this.path = path;
}

// As in ExtendScript, setting a member that does not exist is an error.
function TiffSaveOptions() {
  const members = "alphaChannels annotations byteOrder embedColorProfile imageCompression interleaveChannels jpegQuality";
  for (const name of `${members} layerCompression layers saveImagePyramid spotColors transparency`.split(" ")) {
    this[name] = undefined;
  }
  Object.seal(this);
}

const enums = {
  AnchorPosition: "BOTTOMRIGHT TOPLEFT",
  ChangeMode: "BITMAP CMYK GRAYSCALE INDEXEDCOLOR LAB MULTICHANNEL RGB",
  BitsPerChannelType: "ONE EIGHT SIXTEEN THIRTYTWO",
  ByteOrder: "IBM MACOS",
  ChannelType: "COMPONENT MASKEDAREA SELECTEDAREA SPOTCOLOR",
  DialogModes: "ALL ERROR NO",
  DocumentMode: "BITMAP CMYK DUOTONE GRAYSCALE INDEXEDCOLOR LAB MULTICHANNEL RGB",
  ElementPlacement: "INSIDE PLACEAFTER PLACEATBEGINNING PLACEATEND PLACEBEFORE",
  Extension: "LOWERCASE NONE UPPERCASE",
  Intent: "ABSOLUTECOLORIMETRIC PERCEPTUAL RELATIVECOLORIMETRIC SATURATION",
  OpenDocumentType: "CAMERARAW TIFF",
  SaveOptions: "DONOTSAVECHANGES PROMPTTOSAVECHANGES SAVECHANGES",
  SelectionType: "DIMINISH EXTEND INTERSECT REPLACE",
  TIFFEncoding: "JPEG NONE TIFFLZW TIFFZIP",
  Units: "CM INCHES MM PERCENT PICAS PIXELS POINTS",
};
for (const [type, names] of Object.entries(enums)) {
  globalThis[type] = {};
  for (const name of names.split(" ")) {
    globalThis[type][name] = Object.freeze({ enumName: `${type}.${name}`, toString: () => `${type}.${name}` });
  }
}

// Action Manager: type ids stay names, descriptors become lists of what was put.
const stringIDToTypeID = (name) => name;
const recorder = (setters) => {
  const Recorder = function () {
    this.entries = [];
  };
  for (const setter of setters.split(" ")) {
    Recorder.prototype[setter] = function (...values) {
      this.entries.push([setter, ...values.map((value) => (value && value.entries ? value.entries : value))]);
    };
  }
  return Recorder;
};
const ActionDescriptor = recorder(
  "putBoolean putClass putDouble putEnumerated putInteger putObject putReference putString",
);
const ActionReference = recorder("putClass putEnumerated putIdentifier putProperty");
// What was read of an object: nested lists of [key, value].
const Found = function (entries) {
  const values = new Map(entries);
  const get = (key) => {
    if (!values.has(key)) throw new Error(`there is no key ${key}`);
    return values.get(key);
  };
  this.hasKey = (key) => values.has(key);
  this.getDouble = get;
  this.getObjectValue = (key) => new Found(get(key));
};
const executeActionGet = (reference) =>
  new Found(decodeAnswer(host("look up", 0, "", JSON.stringify(reference.entries))));
const executeAction = (event, descriptor, dialogs) => {
  if (dialogs !== DialogModes.NO) throw new Error("a dialog opens: the program would hang here");
  return decodeAnswer(host("event", 0, event, JSON.stringify(descriptor.entries)));
};
