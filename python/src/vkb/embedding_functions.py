# SPDX-License-Identifier: Apache-2.0
"""What makes vectors of texts and images.

An embedding function is an object with `__call__(self, input)` that takes a list of texts (or of
images) and gives one vector for each. It is given to a client:

    client.create_collection("notes", embedding_function=OllamaEmbeddingFunction())

The embedding functions of the `chromadb` package are taken as they are. One with `name()`,
`get_config()` and `build_from_config()` is stored with the collection by name and arguments, in
Chroma's form, and is there again when the collection is opened without naming it: it is looked up
among those registered here and, when chromadb is installed, among chromadb's.
"""

from __future__ import annotations

import http.client
import importlib
import inspect
import json
import os
import urllib.error
import urllib.request
import warnings
from typing import Any, Dict, Generic, List, Optional, Type, TypeVar

import numpy as np
from numpy.typing import NDArray

from .types import Documents, Space

D = TypeVar("D")

URL_VARIABLE = "VKB_OLLAMA_URL"
MODEL_VARIABLE = "VKB_EMBEDDING_MODEL"
DEFAULT_URL = "http://localhost:11434"
DEFAULT_MODEL = "all-minilm"

known_embedding_functions: Dict[str, Type[Any]] = {}


def register_embedding_function(cls: Optional[Type[Any]] = None) -> Any:
    """Class decorator: the class is found by its `name()` when a collection is opened."""

    def register(decorated: Type[Any]) -> Type[Any]:
        try:
            known_embedding_functions[decorated.name()] = decorated
        except Exception as error:
            raise ValueError(f"Failed to register embedding function: {error}") from error
        return decorated

    return register if cls is None else register(cls)


class EmbeddingFunction(Generic[D]):
    """Base for embedding functions of one's own; deriving from it is not required.

    `__call__` is what must be written. With `name`, `get_config` and `build_from_config` the
    function is also stored with the collection.
    """

    def __call__(self, input: D) -> Any:
        """One vector for each element of `input`: arrays or lists of floats."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to embed (__call__)")

    def embed_query(self, input: D) -> Any:
        """As `__call__`, for what is searched rather than stored; models differ."""
        return self(input)

    @staticmethod
    def name() -> str:
        """The name under which collections refer to it."""
        return NotImplemented  # type: ignore[no-any-return]

    def get_config(self) -> Dict[str, Any]:
        """What build_from_config() needs, as JSON; no secrets."""
        return NotImplemented  # type: ignore[no-any-return]

    @staticmethod
    def build_from_config(config: Dict[str, Any]) -> "EmbeddingFunction[Any]":
        """The reverse of get_config()."""
        return NotImplemented  # type: ignore[no-any-return]

    def default_space(self) -> Space:
        """How distance is measured in a new collection that does not say."""
        return "l2"

    def supported_spaces(self) -> List[Space]:
        """The spaces that suit the model."""
        return ["cosine", "l2", "ip"]

    def validate_config_update(
        self, old_config: Dict[str, Any], new_config: Dict[str, Any]
    ) -> None:
        """Raises when Collection.modify() may not go from one to the other."""

    @staticmethod
    def validate_config(config: Dict[str, Any]) -> None:
        """Raises for a configuration that build_from_config() does not take."""

    def is_legacy(self) -> bool:
        """Whether it cannot be stored with a collection."""
        return (
            self.name() is NotImplemented
            or self.get_config() is NotImplemented
            or self.build_from_config(self.get_config()) is NotImplemented
        )


class SparseEmbeddingFunction(EmbeddingFunction[D]):
    """Base for those that make a SparseVector of each text. Here so that code that names it runs:
    neither vkb nor a local Chroma stores sparse vectors."""


@register_embedding_function
class OllamaEmbeddingFunction(EmbeddingFunction[Documents]):
    """Vectors of a model that an Ollama serves (POST /api/embed); needs no further package.

    Args:
        url: where Ollama is.
        model_name: a model that was pulled there, such as "all-minilm" or "nomic-embed-text".
        timeout: seconds to wait for one answer.
        batch_size: texts in one request.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        model_name: str = DEFAULT_MODEL,
        timeout: int = 60,
        batch_size: int = 128,
    ) -> None:
        self.url = url
        self.model_name = model_name
        self.timeout = timeout
        self.batch_size = batch_size

    def __call__(self, input: Documents) -> List[NDArray[np.float32]]:
        """One vector for each text."""
        vectors: List[NDArray[np.float32]] = []
        for start in range(0, len(input), self.batch_size):
            texts = list(input[start : start + self.batch_size])
            found = self._post(texts).get("embeddings")
            if not isinstance(found, list) or len(found) != len(texts):
                raise ValueError(
                    f"{self._address()} did not answer with one embedding a text for model "
                    f"{self.model_name}: expected {len(texts)}, "
                    f"got {len(found) if isinstance(found, list) else 'none'}"
                )
            vectors += [np.array(vector, dtype=np.float32) for vector in found]
        return vectors

    def _address(self) -> str:
        base = self.url.rstrip("/")
        for ending in ("/api/embeddings", "/api/embed"):
            base = base[: -len(ending)] if base.endswith(ending) else base
        return base + "/api/embed"

    def _post(self, texts: List[str]) -> Dict[str, Any]:
        body = json.dumps({"model": self.model_name, "input": texts}).encode()
        request = urllib.request.Request(
            self._address(), body, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                found: Dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            said = error.read(1000).decode("utf-8", "replace")
            raise ValueError(
                f"{self._address()} refused to embed with model {self.model_name}: "
                f"HTTP {error.code} {said}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(
                f"no embeddings from {self._address()}: {error}; is Ollama running there?"
            ) from error

    @staticmethod
    def name() -> str:
        """ollama"""
        return "ollama"

    def default_space(self) -> Space:
        """cosine"""
        return "cosine"

    def get_config(self) -> Dict[str, Any]:
        """url, model_name and timeout."""
        return {"url": self.url, "model_name": self.model_name, "timeout": self.timeout}

    @staticmethod
    def build_from_config(config: Dict[str, Any]) -> "OllamaEmbeddingFunction":
        """From url, model_name and timeout."""
        given = {
            k: config[k] for k in ("url", "model_name", "timeout") if config.get(k) is not None
        }
        return OllamaEmbeddingFunction(**given)

    def validate_config_update(
        self, old_config: Dict[str, Any], new_config: Dict[str, Any]
    ) -> None:
        """The model stays: its vectors are in the collection."""
        if new_config.get("model_name") != old_config.get("model_name"):
            raise ValueError(
                "The model name cannot be changed after the embedding function has been "
                "initialized."
            )


@register_embedding_function
class DefaultEmbeddingFunction(EmbeddingFunction[Documents]):
    """Stands where no embedding function was given.

    With the environment variable VKB_OLLAMA_URL or VKB_EMBEDDING_MODEL it embeds through Ollama;
    otherwise the first text that is to be embedded raises a ValueError that says what to do. (In
    Chroma the default downloads a model; vkb downloads nothing.)
    """

    def __call__(self, input: Documents) -> List[NDArray[np.float32]]:
        """Through Ollama, when that is configured."""
        configured = from_environment()
        if configured is None:
            raise ValueError(
                "This collection has no embedding function, so texts cannot become vectors. Give "
                "embeddings=… yourself; or pass one to create_collection(…), get_collection(…) or "
                "get_or_create_collection(…), for instance "
                "embedding_function=vkb.embedding_functions.OllamaEmbeddingFunction(model_name="
                '"all-minilm") or any of chromadb.utils.embedding_functions; or set the '
                f"environment variable {MODEL_VARIABLE} (and {URL_VARIABLE}, unless it is "
                f"{DEFAULT_URL}) to embed with Ollama"
            )
        return configured(input)

    @staticmethod
    def name() -> str:
        """default"""
        return "default"

    def get_config(self) -> Dict[str, Any]:
        """Nothing."""
        return {}

    @staticmethod
    def build_from_config(config: Dict[str, Any]) -> "DefaultEmbeddingFunction":
        """From nothing."""
        return DefaultEmbeddingFunction()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DefaultEmbeddingFunction)

    def __hash__(self) -> int:
        return hash(DefaultEmbeddingFunction)

    def __repr__(self) -> str:
        return "DefaultEmbeddingFunction()"


def from_environment() -> Optional[OllamaEmbeddingFunction]:
    """The embedding function that VKB_OLLAMA_URL and VKB_EMBEDDING_MODEL ask for, if they do."""
    url, model = os.environ.get(URL_VARIABLE), os.environ.get(MODEL_VARIABLE)
    if not url and not model:
        return None
    return OllamaEmbeddingFunction(url or DEFAULT_URL, model or DEFAULT_MODEL)


def function_name(function: Any) -> Optional[str]:
    """`function.name()`, or None where there is no such thing."""
    try:
        name = function.name()
    except Exception:
        return None
    return name if isinstance(name, str) else None


def describe(function: Optional[Any]) -> Dict[str, Any]:
    """The function as it is stored with a collection. A known one is registered as well."""
    if function is None:
        return {"type": "legacy"}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # what chromadb's base class says
            if function.is_legacy() if hasattr(function, "is_legacy") else False:
                return {"type": "legacy"}
            name, config = function.name(), function.get_config()
        json.dumps(config)
        register_embedding_function(type(function))
        return {"name": name, "type": "known", "config": config}
    except Exception as error:
        warnings.warn(
            f"the embedding function {type(function).__name__} is not stored with the collection, "
            f"because it cannot be rebuilt: {error}",
            DeprecationWarning,
            stacklevel=4,
        )
        return {"type": "legacy"}


def rebuild(stored: Optional[Dict[str, Any]]) -> Optional[Any]:
    """The function that describe() described; None for legacy and unknown ones. ValueError when
    there is no class of that name, or it does not take its configuration."""
    if stored is None or stored.get("type") in ("legacy", "unknown"):
        return None
    name = stored.get("name")
    if name is None:
        raise ValueError(f"Embedding function name not found in config: {stored}")
    cls = known_embedding_functions.get(name) or _of_chromadb(name)
    if cls is None:
        raise ValueError(
            f"Embedding function {name} not found. Add @register_embedding_function decorator to "
            "the class definition."
        )
    try:
        return cls.build_from_config(stored.get("config") or {})
    except Exception as error:
        raise ValueError(
            f"Could not build embedding function {name} from config {stored.get('config')}: {error}"
        ) from error


def _of_chromadb(name: str) -> Optional[Type[Any]]:
    try:
        theirs = importlib.import_module("chromadb.utils.embedding_functions")
    except ImportError:
        return None
    found: Optional[Type[Any]] = theirs.known_embedding_functions.get(name)
    return found


def validate_embedding_function(function: Any) -> None:
    """ValueError unless it is called as `function(input)`."""
    try:
        found = list(inspect.signature(type(function).__call__).parameters)
    except (ValueError, TypeError):
        found = []
    if found != ["self", "input"]:
        raise ValueError(
            "Expected EmbeddingFunction.__call__ to have the following signature: "
            f"['self', 'input'], got {found}"
        )


def embed_query(function: Any, input: Any) -> Any:
    """Vectors of what is searched, whether the function tells the two apart or not."""
    return function.embed_query(input) if hasattr(function, "embed_query") else function(input)
