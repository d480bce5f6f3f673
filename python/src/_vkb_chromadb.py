# SPDX-License-Identifier: Apache-2.0
"""Lets the unmodified chromadb accept chroma_api_impl="vkb.chroma.EmbeddedAPI".

chromadb loads any class that is named there, but first gives the store an identifier, under which
clients share it, and does that for its own classes only. When chromadb's module for this is
imported, it is taught vkb's class as well; nothing else changes, and without chromadb nothing
happens. vkb_chromadb.pth runs this when the interpreter starts, so that code that only imports
chromadb works; `import vkb` does the same where .pth files are not read. It imports nothing.
"""

import sys

IMPLEMENTATION = "vkb.chroma.EmbeddedAPI"
MODULE = "chromadb.api.shared_system_client"


def _teach(module):
    client = module.SharedSystemClient
    theirs = client._get_identifier_from_settings

    def identifier(settings):
        if settings.chroma_api_impl != IMPLEMENTATION:
            return theirs(settings)
        return "vkb:" + (settings.persist_directory if settings.is_persistent else "")

    client._get_identifier_from_settings = staticmethod(identifier)


class _Finder:
    """Stands before the finders of sys.meta_path until chromadb's module is asked for."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(cls)
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                run = spec.loader.exec_module

                def exec_module(module):
                    run(module)
                    _teach(module)

                spec.loader.exec_module = exec_module
                return spec
        return None


def install():
    """Teaches chromadb now, or when it is imported. Once is enough, twice does no harm."""
    if getattr(install, "done", False):
        return
    install.done = True
    if MODULE in sys.modules:
        _teach(sys.modules[MODULE])
    else:
        sys.meta_path.insert(0, _Finder)


install()
