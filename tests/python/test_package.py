# SPDX-License-Identifier: Apache-2.0
"""The package as a whole: what it exports, that Chroma's signatures are kept, what it imports."""

from __future__ import annotations

import importlib.metadata
import inspect
import os
import pathlib
import pydoc
import shutil
import subprocess
import sys
from typing import Any

import chromadb
import chromadb.api.client
import pytest
from chromadb.api.models.Collection import Collection

import vkb

# Of chromadb's own machinery.
INTERNAL = {"clear_system_cache", "from_system", "get_chroma_cloud_api_key_from_clients"}


def run(program: str, *options: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, *options, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (vkb.Collection, Collection),
        (vkb.ClientAPI, chromadb.api.client.Client),
        (vkb.AdminAPI, chromadb.api.client.AdminClient),
        (vkb.AsyncCollection, Collection),
    ],
)
def test_methods_and_arguments_are_chromas(ours: type, theirs: type):
    expected = public(theirs) - INTERNAL
    if ours is vkb.AsyncCollection:
        expected -= {"get_model"}
    assert expected - public(ours) - {"tenant", "database"} == set()
    for name in expected:
        method = getattr(theirs, name)
        if inspect.isfunction(method):
            wanted = inspect.signature(method).parameters
            found = inspect.signature(getattr(ours, name)).parameters
            assert list(found) == list(wanted), name
            for parameter, each in wanted.items():
                default = found[parameter].default
                if parameter == "embedding_function":
                    assert default.name() == each.default.name() == "default"
                elif parameter == "read_level":
                    assert default == each.default.value
                else:
                    assert default == each.default, (name, parameter)


@pytest.mark.parametrize(
    "name", ["PersistentClient", "EphemeralClient", "HttpClient", "AsyncHttpClient", "CloudClient"]
)
def test_constructors_take_chromas_arguments(name: str):
    found = inspect.signature(getattr(vkb, name)).parameters
    wanted = inspect.signature(getattr(chromadb, name)).parameters
    assert {k: v.default for k, v in found.items()} == {k: v.default for k, v in wanted.items()}


def test_what_chromadb_exports_is_here():
    assert set(chromadb.__all__) - set(vkb.__all__) == {"Cmek"}
    for name in ("Cmek", "RustClient", "configure", "get_settings", "clear_system_cache"):
        assert name in (vkb.__doc__ or "")  # says that it is not here
    ours, theirs = vkb.TokenTransportHeader, chromadb.TokenTransportHeader
    assert {each.name: each.value for each in ours} == {each.name: each.value for each in theirs}
    for name in vkb.__all__:
        assert getattr(vkb, name) is not None
    names = """
from vkb.api.types import Documents, EmbeddingFunction, Embeddings, GetResult, Include, Schema
from vkb.api import ClientAPI, CreateCollectionConfiguration, Search
from vkb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings
from vkb.errors import ChromaError, NotFoundError
from vkb.utils import embedding_functions
from vkb.utils.batch_utils import create_batches
from vkb.utils.data_loaders import ImageLoader
from vkb.utils.embedding_functions import OllamaEmbeddingFunction
"""
    exec(names, {})


def test_batches(client: Any):
    from vkb.utils.batch_utils import create_batches

    client.get_max_batch_size = lambda: 2
    batches = create_batches(client, ["a", "b", "c"], documents=["x", "y", "z"])
    assert batches == [(["a", "b"], None, None, ["x", "y"]), (["c"], None, None, ["z"])]


def test_the_batches_of_llama_index_fit(client: Any):
    assert client.get_max_batch_size() >= 41_665


@pytest.mark.parametrize("thing", [vkb, vkb.Collection, vkb.ClientAPI, vkb.Search, vkb.errors])
def test_help_says_something_about_each_method(thing: Any):
    assert len(pydoc.render_doc(thing)) > 1000
    members = [thing] if inspect.isclass(thing) else [getattr(thing, n) for n in dir(thing)]
    for kind in filter(inspect.isclass, members):
        if not kind.__module__.startswith("vkb"):
            continue
        assert kind.__doc__, kind
        for name, member in vars(kind).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_it_needs_numpy_and_nothing_else():
    required = importlib.metadata.requires("vkb") or []
    assert [name for name in required if "extra" not in name] == ["numpy>=1.21"]
    loaded = run("import sys, vkb; print(*{m.split('.')[0] for m in sys.modules})").split()
    ours = {"vkb", "_vkb_chromadb", "numpy"}
    unknown = {
        name
        for name in set(loaded) - ours - set(sys.stdlib_module_names)
        if not name.startswith(("__", "_distutils_hack", "sitecustomize"))
    }
    assert unknown <= {"mkl", "pyexpat", "cython_runtime", "_cython"}


def test_types_are_declared():
    folder = pathlib.Path(vkb.__file__).parent
    assert (folder / "py.typed").exists()
    assert (folder / "_vkb.pyi").exists()


SOURCES = pathlib.Path(__file__).parents[2] / "python"


def call_backend(folder: pathlib.Path, call: str) -> str:
    """What a hook of the build backend ends with."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"import vkb_build; vkb_build.{call}"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 1
    return done.stderr


def test_an_sdist_that_could_not_be_built_is_not_made(tmp_path: pathlib.Path):
    for call in ("get_requires_for_build_sdist()", f"build_sdist({str(tmp_path)!r})"):
        assert call_backend(SOURCES, call).startswith("vkb has no sdist: the C++ sources are outs")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_alone_says_what_is_missing(tmp_path: pathlib.Path):
    folder = tmp_path / "python"
    folder.mkdir()
    for name in ("vkb_build.py", "pyproject.toml"):
        shutil.copy(SOURCES / name, folder)
    for call in ("prepare_metadata_for_build_wheel('out')", "build_wheel('out')"):
        message = call_backend(folder, call)
        assert message.startswith("The Python package is built from vkb's repository")
        assert f"should be in {tmp_path}. Clone it" in message


def test_the_unmodified_chromadb_runs_on_it(tmp_path: pathlib.Path):
    """With nothing but the setting: the program does not import vkb."""
    program = """
import sys, chromadb
assert "vkb" not in sys.modules
settings = chromadb.Settings(is_persistent=True, persist_directory=sys.argv[1])
assert settings.chroma_api_impl == "vkb.chroma.EmbeddedAPI"
client = chromadb.Client(settings)
notes = client.get_or_create_collection("notes", embedding_function=None)
notes.upsert(ids=["a"], embeddings=[[1.0, 2.0]])
print(notes.count(), sorted(m for m in sys.modules if m == "vkb"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "CHROMA_API_IMPL": "vkb.chroma.EmbeddedAPI"},
    )
    assert done.stdout == "1 ['vkb']\n", done.stderr
    with vkb.PersistentClient(tmp_path) as client:
        assert client.get_collection("notes").count() == 1


def test_chromadb_itself_is_as_it_was(tmp_path: pathlib.Path):
    """Its own store in the process still is what it uses when nothing else is said."""
    program = f"""
import vkb, chromadb
client = chromadb.PersistentClient({str(tmp_path)!r})
client.create_collection("notes", embedding_function=None).add(ids=["a"], embeddings=[[1.0]])
other = chromadb.Client(chromadb.Settings(chroma_api_impl="vkb.chroma.EmbeddedAPI"))
print(client.get_settings().chroma_api_impl, other.count_collections())
"""
    assert run(program) == "chromadb.api.rust.RustBindingsAPI 0\n"
    assert (tmp_path / "chroma.sqlite3").exists()


def test_an_ephemeral_store_under_chromadb_is_new_each_time():
    settings = chromadb.Settings(chroma_api_impl="vkb.chroma.EmbeddedAPI", allow_reset=True)
    with chromadb.Client(settings) as client:
        client.create_collection("notes", embedding_function=None)
        with chromadb.Client(settings) as second:  # shared while the first is open
            assert second.count_collections() == 1
        assert client.count_collections() == 1
    with chromadb.Client(settings) as client:
        assert client.count_collections() == 0


def test_ephemeral_clients_share_one_store_until_the_last_is_closed():
    first, second = vkb.EphemeralClient(), vkb.EphemeralClient()
    first.create_collection("notes", embedding_function=None)
    directory = pathlib.Path(first._server.directory)
    first.close()
    assert second.count_collections() == 1
    assert directory.exists()
    second.close()
    assert not directory.exists()
    with vkb.EphemeralClient() as third:
        assert third.count_collections() == 0


def test_the_temporary_directory_goes_with_the_process(tmp_path: pathlib.Path):
    program = """
import os, vkb
client = vkb.EphemeralClient()
client.create_collection("notes", embedding_function=None).add(ids=["a"], embeddings=[[1.0]])
print(len(os.listdir(os.environ["TMPDIR"])))
"""
    assert run(program, environment={"TMPDIR": str(tmp_path)}) == "1\n"
    assert list(tmp_path.iterdir()) == []


def test_a_store_outlives_its_client_in_a_collection(tmp_path: pathlib.Path):
    notes = vkb.PersistentClient(tmp_path).create_collection("notes", embedding_function=None)
    notes.add(ids=["a"], embeddings=[[1.0]])
    assert notes.count() == 1
    with vkb.PersistentClient(tmp_path) as client:
        assert client.get_collection("notes").count() == 1


def test_a_settings_object_of_chromadb_is_taken(tmp_path: pathlib.Path):
    settings = chromadb.Settings(allow_reset=True)
    with vkb.PersistentClient(tmp_path, settings) as client:
        assert client.reset()
        assert client.get_settings().persist_directory == str(tmp_path)
        admin = vkb.AdminClient(client.get_settings())
        assert admin.get_database("default_database")["name"] == "default_database"
        admin.close()
        assert client.count_collections() == 0
    with vkb.Client(vkb.Settings(is_persistent=True, persist_directory=str(tmp_path))) as client:
        assert client.count_collections() == 0
