"""An in-memory Photoshop: just the members that our programs use; everything else is an error.

It stands for the documented object model (Adobe Photoshop JavaScript Reference, "JS" below) and for behaviour that
its users report. What is our own reading of Photoshop, and so still to be checked on a real one, says "our reading"
where it is modelled; where readings differ there is a switch on `Application` and the tests run both ways.

Modules: `objects` dispatch and faults; `document`, `layer`, `channel` the model; `samples` its arithmetic; `actions`
Action Manager; `files` TIFF; `psd` writes the state as PSD; `javascript` and `runtime.js` run ExtendScript in QuickJS;
`com` lets the real photoshop-python-api and the real comtypes dispatch talk to it on Linux.
"""

from tests.fakes.photoshop.application import Application
from tests.fakes.photoshop.document import Document

__all__ = ["Application", "Document"]
