# SPDX-License-Identifier: Apache-2.0
"""Pictures, sound and anything else behind URIs, through data loaders."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from chromadb.utils.data_loaders import ImageLoader as ImageLoaderOfChromadb
from PIL import Image

import vkb
from vkb.data_loaders import ImageLoader


class MeanColour(vkb.EmbeddingFunction):
    """Of pictures; for texts, what they say: "255 0 0"."""

    def __call__(self, input: Any) -> Any:
        return [
            np.array(each.split(), float) if isinstance(each, str) else each.mean(axis=(0, 1))
            for each in input
        ]


@pytest.fixture
def files(tmp_path: pathlib.Path) -> dict[str, str]:
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    for name, colour in colours.items():
        Image.new("RGB", (6, 4), colour).save(tmp_path / f"{name}.png")
    return {name: str(tmp_path / f"{name}.png") for name in colours}


@pytest.mark.parametrize("loader", [ImageLoader(), ImageLoaderOfChromadb(2)], ids=["vkb", "chroma"])
def test_pictures(client: Any, files: dict[str, str], loader: Any):
    made = client.create_collection("pictures", embedding_function=MeanColour(), data_loader=loader)
    made.add(ids=list(files), uris=list(files.values()))
    assert made.query(query_uris=[files["blue"]], n_results=1)["ids"] == [["blue"]]
    assert made.query(query_texts=["0 200 0"], n_results=1)["ids"] == [["green"]]
    include = ["data"]
    got = made.get(include=include)
    assert include == ["data"]
    assert got["included"] == ["data", "uris"]
    assert got["uris"] == list(files.values())
    assert [picture.shape for picture in got["data"]] == [(4, 6, 3)] * 3
    assert got["data"][0][0, 0].tolist() == [255, 0, 0]
    hits = made.query(query_embeddings=[[0, 0, 255]], n_results=1, include=["data", "distances"])
    assert hits["data"][0][0][0, 0].tolist() == [0, 0, 255]
    assert hits["distances"] == [[0]]


def test_records_without_a_uri(client: Any, files: dict[str, str]):
    made = client.create_collection("mixed", embedding_function=None, data_loader=ImageLoader())
    made.add(ids=["a", "b"], embeddings=[[1], [2]], uris=[files["red"], None])
    data = made.get(include=["data"])["data"]
    assert data[0].shape == (4, 6, 3)
    assert data[1] is None


def test_anything_that_a_loader_makes(client: Any, tmp_path: pathlib.Path):
    """Sound, here: samples in a file, embedded as their energy and their zero crossings."""

    class Samples:
        def __call__(self, uris: Sequence[str]) -> list[np.ndarray]:
            return [np.fromfile(uri, dtype="int16") for uri in uris]

    class Features(MeanColour):
        def __call__(self, input: Any) -> Any:
            return [
                [np.abs(sound.astype(float)).mean(), np.diff(np.signbit(sound)).sum()]
                for sound in input
            ]

    time = np.arange(800) / 8000
    for pitch in (100, 1000):
        sound = (1000 * np.sin(2 * np.pi * pitch * time)).astype("int16")
        sound.tofile(tmp_path / f"{pitch}.raw")
    sounds = client.create_collection(
        "sounds", embedding_function=Features(), data_loader=Samples()
    )
    sounds.add(ids=["low", "high"], uris=[str(tmp_path / f"{p}.raw") for p in (100, 1000)])
    hits = sounds.query(query_uris=[str(tmp_path / "1000.raw")], n_results=1, include=["data"])
    assert hits["ids"] == [["high"]]
    assert hits["data"][0][0].dtype == np.int16


def test_without_a_loader(client: Any):
    made = client.create_collection("pictures", embedding_function=MeanColour())
    for call in (
        lambda: made.add(ids=["a"], uris=["a.png"]),
        lambda: made.query(query_uris=["a.png"]),
        lambda: made.get(include=["data"]),
    ):
        with pytest.raises(ValueError, match="You must set a data loader"):
            call()
