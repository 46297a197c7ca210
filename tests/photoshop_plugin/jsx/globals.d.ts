// What ExtendScript has and types-for-adobe's Photoshop types leave out, and what the Python side puts in front.

declare function stringIDToTypeID(name: string): number;
declare function executeActionGet(reference: ActionReference): ActionDescriptor;
declare function executeAction(event: number, descriptor: ActionDescriptor, dialogs: DialogModes): ActionDescriptor;

declare var scumbleRequest: any;

// Adobe's reference has five values, the types have three.
declare enum ElementPlacement {
  INSIDE = 4,
  PLACEATBEGINNING = 0,
}

interface Error {
  line?: number;
  scumbleCode?: string;
}

// Used by the types themselves; ExtendScript's own library stands in for lib.d.ts.
type Extract<T, U> = T extends U ? T : never;
